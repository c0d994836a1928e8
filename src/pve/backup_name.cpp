#include "pve/backup_name.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <ctime>

namespace vmad::pve {
namespace {

constexpr std::string_view kPrefix = "vzdump-qemu-";
/// Proxmox hands out 100 to 999999999.
constexpr std::size_t kMinVmidDigits = 3;
constexpr std::size_t kMaxVmidDigits = 9;
/// 0 stands for a digit.
constexpr std::string_view kTimePattern = "0000_00_00-00_00_00";

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// The number that digits spell.
template <typename Number>
Number number(std::string_view digits) {
    Number value = 0;
    std::from_chars(digits.data(), digits.data() + digits.size(), value);
    return value;
}

std::optional<NameTime> parse_time(std::string_view text) {
    const bool matches =
        std::equal(text.begin(), text.end(), kTimePattern.begin(), kTimePattern.end(),
                   [](char c, char pattern) { return pattern == '0' ? is_digit(c) : c == pattern; });
    if (!matches) return std::nullopt;
    const auto field = [&](std::size_t at, std::size_t length) {
        return number<int>(text.substr(at, length));
    };
    const NameTime time{field(0, 4), field(5, 2), field(8, 2), field(11, 2), field(14, 2), field(17, 2)};
    const std::chrono::year_month_day date{std::chrono::year(time.year),
                                           std::chrono::month(static_cast<unsigned>(time.month)),
                                           std::chrono::day(static_cast<unsigned>(time.day))};
    if (!date.ok() || time.hour > 23 || time.minute > 59 || time.second > 59) return std::nullopt;
    return time;
}

}  // namespace

std::optional<BackupName> parse_backup_name(std::string_view name) {
    const auto ending = std::find_if(kArchiveEndings.begin(), kArchiveEndings.end(),
                                     [&](std::string_view text) { return name.ends_with(text); });
    if (!name.starts_with(kPrefix) || ending == kArchiveEndings.end()) return std::nullopt;
    name.remove_suffix(ending->size());
    name.remove_prefix(std::min(kPrefix.size(), name.size()));
    const auto digits =
        static_cast<std::size_t>(std::find_if_not(name.begin(), name.end(), is_digit) - name.begin());
    if (digits < kMinVmidDigits || digits > kMaxVmidDigits || name[0] == '0' ||
        !name.substr(digits).starts_with('-'))
        return std::nullopt;
    const auto time = parse_time(name.substr(digits + 1));
    if (!time) return std::nullopt;
    return BackupName{number<std::uint64_t>(name.substr(0, digits)), *time};
}

std::int64_t epoch_seconds(const NameTime& time) noexcept {
    std::tm parts{};
    parts.tm_year = time.year - 1900;
    parts.tm_mon = time.month - 1;
    parts.tm_mday = time.day;
    parts.tm_hour = time.hour;
    parts.tm_min = time.minute;
    parts.tm_sec = time.second;
    parts.tm_isdst = -1;  // whatever holds then
    return std::mktime(&parts);
}

std::vector<std::string> earlier_backups(const std::vector<std::string>& names, std::string_view name) {
    const auto now = parse_backup_name(name);
    if (!now) return {};
    std::vector<std::pair<NameTime, std::string>> earlier;
    for (const auto& other : names) {
        const auto backup = parse_backup_name(other);
        if (backup && backup->vmid == now->vmid && backup->time < now->time)
            earlier.emplace_back(backup->time, other);
    }
    std::sort(earlier.rbegin(), earlier.rend());
    std::vector<std::string> result;
    for (auto& [time, other] : earlier) result.push_back(std::move(other));
    return result;
}

bool is_container_backup(std::string_view name) noexcept {
    return name.starts_with("vzdump-lxc-") || name.starts_with("vzdump-openvz-");
}

std::optional<std::uint64_t> vmid_of(std::string_view path) {
    const auto parsed = parse_backup_name(path.substr(path.rfind('/') + 1));
    return parsed ? std::optional(parsed->vmid) : std::nullopt;
}

std::optional<std::int64_t> backup_time_of(std::string_view path) {
    const auto parsed = parse_backup_name(path.substr(path.rfind('/') + 1));
    return parsed ? std::optional(epoch_seconds(parsed->time)) : std::nullopt;
}

}  // namespace vmad::pve
