#include "ctl/text/archive_text.hpp"

#include <ctime>

#include <fmt/format.h>

#include "ctl/text/printable_text.hpp"
#include "pve/backup_name.hpp"

namespace vmad::ctl {
namespace {

constexpr const char* kUnknown = "-";

std::string_view file_name_of(std::string_view path) { return path.substr(path.rfind('/') + 1); }

std::string time_cell(const pve::NameTime& time, std::int64_t now) {
    const std::time_t seconds = now;
    std::tm parts{};
    const bool this_year = ::localtime_r(&seconds, &parts) != nullptr && parts.tm_year + 1900 == time.year;
    return this_year ? fmt::format("{:02}-{:02} {:02}:{:02}", time.month, time.day, time.hour, time.minute)
                     : fmt::format("{:04}-{:02}-{:02}", time.year, time.month, time.day);
}

std::string format_cell(std::string_view name) {
    for (const auto ending : pve::kArchiveEndings)
        if (name.ends_with(ending)) return std::string(name.substr(name.rfind('.') + 1));
    return kUnknown;
}

}  // namespace

ArchiveCells archive_cells(std::string_view path, std::int64_t now) {
    const auto name = file_name_of(path);
    const auto backup = pve::parse_backup_name(name);
    return {backup ? fmt::format("{}", backup->vmid) : kUnknown,
            backup ? time_cell(backup->time, now) : kUnknown, format_cell(name)};
}

bool has_backup_name(std::string_view path) { return pve::parse_backup_name(file_name_of(path)).has_value(); }

std::string archive_label(std::string_view path, std::string_view guest) {
    const auto backup = pve::parse_backup_name(file_name_of(path));
    if (!backup) return printable(file_name_of(path));
    const auto& time = backup->time;
    return fmt::format("VM {}{}{}, {:04}-{:02}-{:02} {:02}:{:02}", backup->vmid, guest.empty() ? "" : " ",
                       printable(guest), time.year, time.month, time.day, time.hour, time.minute);
}

}  // namespace vmad::ctl
