#include "ctl/text/backup_report_page.hpp"

#include <algorithm>
#include <cctype>
#include <kainjow/mustache.hpp>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "access/device_choice.hpp"
#include "base/units.hpp"
#include "ctl/text/archive_text.hpp"
#include "ctl/text/backup_report_page_template.hpp"
#include "ctl/text/backup_report_text.hpp"
#include "ctl/text/job_text.hpp"
#include "ctl/text/local_time.hpp"
#include "ctl/text/printable_text.hpp"
#include "ctl/text/text_plot.hpp"

namespace vmad::ctl {
namespace {

using nlohmann::json;

/// A name or a sentence that is longer than this loses its middle.
constexpr std::size_t kLongestText = 400;
constexpr std::size_t kLongestLine = 900;
constexpr std::size_t kMostDayLabels = 4;
constexpr std::size_t kMostEntries = 50;
constexpr std::size_t kMostBriefEntries = 10;

std::string shown(const std::string& text) { return shorten(printable(text), kLongestText); }

/// Takes the character at `at` off printable text.
std::uint32_t take_character(std::string_view text, std::size_t& at) {
    const auto first = static_cast<unsigned char>(text[at++]);
    std::uint32_t code = first < 0xc0 ? first : first & (first < 0xe0 ? 0x1fU : first < 0xf0 ? 0x0fU : 0x07U);
    for (; at < text.size() && (static_cast<unsigned char>(text[at]) & 0xc0U) == 0x80; ++at)
        code = code << 6U | (static_cast<unsigned char>(text[at]) & 0x3fU);
    return code;
}

/// "30 d" and "8.1 GiB" stay on one line; but a path can be copied.
bool keeps_together(std::string_view text, std::size_t at) {
    const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
    const auto is_letter = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '%';
    };
    return text[at] == ' ' && at > 0 && at + 1 < text.size() && is_digit(text[at - 1]) &&
           is_letter(text[at + 1]) && text.find('/') == text.npos;
}

/// In ASCII: each other character, and what means something in HTML, as its number.
std::string escaped(const std::string& text) {
    constexpr std::string_view kMarkup = "&<>\"'`";
    constexpr std::uint32_t kNoBreakSpace = 0xa0;
    std::string out;
    for (std::size_t at = 0; at < text.size();) {
        const bool together = keeps_together(text, at);
        const auto code = together ? (++at, kNoBreakSpace) : take_character(text, at);
        if (code >= 0x80 || kMarkup.find(static_cast<char>(code)) != kMarkup.npos)
            out += fmt::format("&#{};", code);
        else
            out += static_cast<char>(code);
    }
    return out;
}

/// No line is longer than mail can carry. Long ones are texts, in which a line break is a space.
std::string folded(const std::string& page) {
    std::string out;
    for (std::size_t at = 0; at < page.size();) {
        auto end = page.find('\n', at);
        if (end - at > kLongestLine) {
            const auto space = page.rfind(' ', at + kLongestLine);
            const auto character = page.rfind('&', at + kLongestLine);
            end = space != page.npos && space > at ? space : character > at ? character : at + kLongestLine;
        }
        out.append(page, at, end - at) += '\n';
        at = end + (page[end] == '&' ? 0 : 1);
    }
    return out;
}

/// For the template, an empty text is false.
kainjow::mustache::data template_data(const json& value) {
    using kainjow::mustache::data;
    if (value.is_boolean()) return data(value.get<bool>());
    if (value.is_string())
        return value.get_ref<const std::string&>().empty() ? data(false) : data(value.get<std::string>());
    if (value.is_array()) {
        data list(data::type::list);
        for (const auto& item : value) list << template_data(item);
        return list;
    }
    data object;
    for (const auto& [name, member] : value.items()) object.set(name, template_data(member));
    return object;
}

json tile(const std::string& value, const std::string& text, const char* mark = "") {
    return {{"value", value}, {"text", text}, {"class", mark}};
}

json count_tile(std::uint64_t count, const std::string& noun, const char* mark) {
    return tile(count == 0 ? "none" : fmt::format("{}", count), noun, count == 0 ? "good" : mark);
}

std::string verify_period(const BackupReport& report) {
    return base::format_duration(std::chrono::seconds(report.verify_seconds));
}

json tiles(const BackupReport& report) {
    const auto& sums = report.sums;
    const auto percent = percent_text(sums.new_bytes, sums.compared_bytes);
    auto list = json::array(
        {tile(fmt::format("{}", sums.backups),
              fmt::format("{}, {}", sums.backups == 1 ? "backup" : "backups", base::format_size(sums.bytes))),
         tile(sums.compared_backups == 0 ? "-" : base::format_size(sums.new_bytes),
              percent.empty() ? "new" : fmt::format("new ({} %)", percent)),
         tile(base::format_size(report.archive_bytes),
              fmt::format("kept, in {}", counted(report.archives, "archive"))),
         count_tile(failed_jobs(report), "failed jobs", "bad"),
         count_tile(report.damages.size(), "damaged archives", "bad")});
    if (report.archives != 0)
        list.push_back(
            count_tile(report.unverified, "not verified in the last " + verify_period(report), "warn"));
    return list;
}

json entry(const std::string& name, std::vector<std::string> lines, const std::string& path = {}) {
    std::erase(lines, "");
    return {{"name", shown(name)}, {"lines", lines}, {"path", shown(path)}};
}

/// Those below the first ones are only counted. `brief`: an entry is one line.
void add_problem(json& problems, const char* mark, const std::string& heading, json entries,
                 bool brief = false) {
    if (entries.empty()) return;
    const auto most = brief ? kMostBriefEntries : kMostEntries;
    const auto more = entries.size() > most ? fmt::format("and {} more", entries.size() - most) : "";
    while (entries.size() > most) entries.erase(entries.size() - 1);
    problems.push_back({{"class", mark},
                        {"style", brief ? "brief" : "whole"},
                        {"heading", heading},
                        {"more", more},
                        {"entries", std::move(entries)}});
}

std::string name_with_storage(const ReportedGuest& guest) {
    return fmt::format("{} ({})", guest_label(guest), printable(guest.storage));
}

json damages(const BackupReport& report) {
    auto list = json::array();
    for (const auto& damage : report.damages) {
        std::vector<std::string> lines{shown(damage.fault)};
        for (const auto& place : damage.places) lines.push_back(shown(place_text(place)));
        if (damage.last_good_at) lines.push_back(last_good_text(*damage.last_good_at, report.now));
        list.push_back(entry(archive_label(damage.path, damage.guest.name), lines, damage.path));
    }
    return list;
}

json failures(const BackupReport& report) {
    auto list = json::array();
    for (const auto& failure : report.failures)
        list.push_back(entry(
            name_with_storage(failure.guest),
            {fmt::format("{}, the last {}", counted(failure.jobs, "failed job"),
                         relative_time(failure.last.ended_at.value_or(failure.last.queued_at), report.now)),
             shown(failure.last.reason)},
            failure.last.path));
    return list;
}

json problems(const BackupReport& report) {
    auto list = json::array();
    add_problem(list, "bad", "Damaged archives", damages(report));
    add_problem(list, "bad", "Failed jobs", failures(report));
    auto missing = json::array();
    for (const auto* row : guests_without_backup(report))
        missing.push_back(entry(
            name_with_storage(row->guest) + ":",
            {row->last_at ? "the last one " + relative_time(*row->last_at, report.now) : std::string()}));
    add_problem(list, "warn", "Guests without a new backup", std::move(missing), true);
    auto unverified = json::array();
    for (const auto* row : unverified_guests(report))
        unverified.push_back(entry(name_with_storage(row->guest) + ":", {unverified_text(*row, report.now)}));
    add_problem(list, "warn", "Not verified in the last " + verify_period(report), std::move(unverified),
                true);
    return list;
}

std::string slot_name(const BackupReport& report, std::size_t slot) {
    auto first = day_text(report.slot_begins[slot], report.now);
    if (report.days_per_slot == 1) return first;
    return fmt::format("{} to {}", first, day_text(day_begin(report.slot_begins[slot + 1], -1), report.now));
}

json plot_column(const BackupReport& report, std::size_t slot, std::uint64_t limit) {
    const auto& sums = report.slots[slot];
    // What is there is seen, however little it is.
    const auto share = 100 * static_cast<double>(sums.new_bytes) / static_cast<double>(limit);
    const auto height = sums.new_bytes == 0 ? 0 : std::max(share, 1.0);
    return {{"title", fmt::format("{}: {}, {} new", slot_name(report, slot), counted(sums.backups, "backup"),
                                  base::format_size(sums.new_bytes))},
            {"left", fmt::format("{}", slot * 10)},
            {"x", fmt::format("{}.5", slot * 10 + 1)},
            {"y", fmt::format("{:.1f}", 100 - height)},
            {"height", fmt::format("{:.1f}", height)}};
}

json day_labels(const BackupReport& report) {
    const auto count = report.slots.size();
    const auto span = (count + kMostDayLabels - 1) / kMostDayLabels;
    auto labels = json::array();
    for (std::size_t slot = 0; slot < count; slot += span)
        labels.push_back({{"span", fmt::format("{}", std::min(span, count - slot))},
                          {"day", day_text(report.slot_begins[slot], report.now)}});
    return labels;
}

std::string note_text(const BackupSums& sums) {
    auto text = uncompared_text(sums);
    if (!text.empty()) text[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(text[0])));
    return text;
}

json plot(const BackupReport& report) {
    std::size_t most = 0;
    for (std::size_t i = 0; i < report.slots.size(); ++i)
        if (report.slots[i].new_bytes > report.slots[most].new_bytes) most = i;
    const auto largest = report.slots[most].new_bytes;
    if (report.slots.size() < 2 || largest == 0) return false;
    const auto limit = axis_limit(largest);
    auto columns = json::array();
    auto rows = json::array();
    for (std::size_t i = 0; i < report.slots.size(); ++i) {
        const auto& sums = report.slots[i];
        columns.push_back(plot_column(report, i, limit));
        rows.push_back({{"day", slot_name(report, i)},
                        {"backups", fmt::format("{}", sums.backups)},
                        {"size", base::format_size(sums.bytes)},
                        {"new", base::format_size(sums.new_bytes)}});
    }
    const auto heading = "New data " + slot_text(report);
    return {{"heading", heading},
            {"label",
             fmt::format("{}: most on {}, {}", heading, slot_name(report, most), base::format_size(largest))},
            {"limit", base::format_size(limit)},
            {"half", base::format_size(limit / 2)},
            {"width", fmt::format("{}", report.slots.size() * 10)},
            {"count", fmt::format("{}", report.slots.size())},
            {"columns", columns},
            {"days", day_labels(report)},
            {"note", note_text(report.sums)},
            {"slot", report.days_per_slot == 1 ? "Day" : "Days"},
            {"rows", rows}};
}

/// Of the columns of a small plot, 4 wide and up to 20 high.
std::string trend_path(const GuestReport& row) {
    std::uint64_t largest = 0;
    for (const auto& slot : row.slots) largest = std::max(largest, slot.new_bytes);
    std::string path;
    for (std::size_t i = 0; i < row.slots.size(); ++i) {
        if (row.slots[i].compared_backups == 0) continue;
        const auto share =
            largest == 0 ? 0 : static_cast<double>(row.slots[i].new_bytes) / static_cast<double>(largest);
        const auto height = std::max(20 * share, 1.0);
        path += fmt::format("{}M{} 20v-{:.1f}h3v{:.1f}z", path.empty() ? "" : " ", i * 4, height, height);
    }
    return path;
}

json guests(const BackupReport& report) {
    auto list = json::array();
    for (const auto& row : report.guests) {
        const auto& sums = row.sums;
        list.push_back({{"guest", shown(guest_label(row.guest))},
                        {"storage", shown(row.guest.storage)},
                        {"backups", fmt::format("{}", sums.backups)},
                        {"size", size_cell(sums)},
                        {"new", new_cell(sums)},
                        {"percent", percent_cell(sums)},
                        {"width", fmt::format("{}", row.slots.size() * 4)},
                        {"path", trend_path(row)},
                        {"label", fmt::format("{} new, {}", new_cell(sums), slot_text(report))},
                        {"verified", verified_cell(row, report.now)},
                        {"class", row.unverified != 0 ? "warn" : "plain"}});
    }
    return list;
}

json storages(const BackupReport& report) {
    auto list = json::array();
    if (report.storages.size() < 2) return list;
    for (const auto& storage : report.storages)
        list.push_back(
            {{"storage", shown(storage.storage)},
             {"guests", fmt::format("{}", storage.guests)},
             {"backups", fmt::format("{}", storage.sums.backups)},
             {"size", size_cell(storage.sums)},
             {"new", new_cell(storage.sums)},
             {"percent", percent_cell(storage.sums)},
             {"kept", storage.archives == 0 ? "-" : kept_text(storage.archives, storage.archive_bytes)}});
    return list;
}

/// Where in the disk it is, of a thousand.
json place(const api::DiskGrowth& disk) {
    if (!disk.largest || disk.bytes == 0) return false;
    const auto share = [&](std::uint64_t bytes) {
        return 1000 * static_cast<double>(std::min(bytes, disk.bytes)) / static_cast<double>(disk.bytes);
    };
    const auto width = std::max(share(disk.largest->bytes), 4.0);
    return {{"label", fmt::format("where on the {} of {} that is", base::format_size(disk.bytes),
                                  shown(std::string(access::short_name(disk.disk))))},
            {"x", fmt::format("{:.1f}", std::min(share(disk.largest->offset), 1000 - width))},
            {"width", fmt::format("{:.1f}", width)}};
}

json growths(const BackupReport& report) {
    auto list = json::array();
    for (const auto& growth : report.growths) {
        const auto* disk = largest_growth(growth.since);
        list.push_back(
            {{"name", shown(archive_label(growth.path, growth.guest.name))},
             {"text", fmt::format("{} new since {} ({} % of {})", base::format_size(growth.since.new_bytes),
                                  day_text(growth.since.archive_at, report.now),
                                  percent_text(growth.since.new_bytes, growth.size_bytes),
                                  base::format_size(growth.size_bytes))},
             {"disk", shown(largest_growth_text(growth.since))},
             {"place", disk != nullptr ? place(*disk) : json(false)}});
    }
    return list;
}

std::string made_text(const BackupReport& report) {
    auto text = "As of " + minute_time(report.now);
    if (report.pending_jobs != 0)
        text += fmt::format("; {} not ended yet", counted(report.pending_jobs, "job"));
    return text;
}

json page_data(const BackupReport& report) {
    const auto guest_rows = guests(report);
    const auto storage_rows = storages(report);
    const auto growth_entries = growths(report);
    return {{"title", shown(title_text(report))},
            {"made", made_text(report)},
            {"tiles", tiles(report)},
            {"problems", problems(report)},
            {"plot", plot(report)},
            {"has_guests", !guest_rows.empty()},
            {"guests", guest_rows},
            {"has_storages", !storage_rows.empty()},
            {"storages", storage_rows},
            {"has_growths", !growth_entries.empty()},
            {"growths", growth_entries}};
}

}  // namespace

std::string report_page(const BackupReport& report) {
    kainjow::mustache::mustache page{std::string(report_page_template())};
    page.set_custom_escape(escaped);
    return folded(page.render(template_data(page_data(report))));
}

}  // namespace vmad::ctl
