#include "ctl/text/backup_report_text.hpp"

#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "access/device_choice.hpp"
#include "base/units.hpp"
#include "ctl/text/archive_text.hpp"
#include "ctl/text/job_text.hpp"
#include "ctl/text/local_time.hpp"
#include "ctl/text/printable_text.hpp"
#include "ctl/text/text_plot.hpp"
#include "ctl/text/text_table.hpp"

namespace vmad::ctl {
namespace {

using Align = TextTable::Align;

constexpr std::size_t kLabelWidth = 10;
constexpr std::size_t kPlotHeight = 5;
constexpr std::size_t kTrendWidth = 8;
constexpr std::size_t kMostRows = 20;
constexpr std::size_t kMostEntries = 5;

std::string storage_in_brackets(const ReportedGuest& guest) {
    return fmt::format("{} ({})", guest_label(guest), printable(guest.storage));
}

/// Collects what one report says.
class Text {
  public:
    Text(const BackupReport& report, bool whole, const Console& console)
        : report_(report), whole_(whole), console_(console) {}

    std::string run() && {
        text_ = console_.paint(Colour::bold, title_text(report_)) + "\n\n";
        header();
        plot();
        guests();
        storages();
        growths();
        damages();
        failures();
        missing();
        unverified();
        return std::move(text_);
    }

  private:
    void line(std::string_view label, const std::string& value, Colour colour = Colour::none) {
        auto head = std::string(label);
        for (const auto& part : wrapped(in_locale(value), console_.width() - kLabelWidth)) {
            text_ += fmt::format("{:<{}}{}\n", head, kLabelWidth, console_.paint(colour, part));
            head.clear();
        }
    }

    void header() {
        line("backups", sums_text(report_));
        line("", uncompared_text(report_.sums));
        line("kept", kept_text(report_.archives, report_.archive_bytes));
        if (report_.pending_jobs != 0)
            line("pending", fmt::format("{}; see \"vmactl list\"", counted(report_.pending_jobs, "job")));
        const auto failed = failed_jobs(report_);
        line("failed", failed == 0 ? "none" : counted(failed, "job"),
             failed == 0 ? Colour::green : Colour::red);
        const auto damaged = report_.damages.size();
        line("damaged", damaged == 0 ? "none" : counted(damaged, "archive"),
             damaged == 0 ? Colour::green : Colour::red);
        if (report_.archives == 0) return;
        const auto period = base::format_duration(std::chrono::seconds(report_.verify_seconds));
        line("verified",
             report_.unverified == 0
                 ? fmt::format("all in the last {}", period)
                 : fmt::format("all in the last {} but {}", period, counted(report_.unverified, "archive")),
             report_.unverified == 0 ? Colour::green : Colour::yellow);
    }

    void section(const std::string& title) { text_ += "\n" + console_.paint(Colour::bold, title) + "\n"; }

    void plot() {
        if (report_.slots.size() < 2) return;
        std::vector<PlotColumn> columns;
        for (std::size_t i = 0; i < report_.slots.size(); ++i)
            columns.push_back({day_text(report_.slot_begins[i], report_.now), report_.slots[i].new_bytes});
        const auto plot = column_plot(columns, kPlotHeight, console_.width());
        if (plot.empty()) return;
        section(fmt::format("New data {}", slot_text(report_)));
        text_ += plot;
    }

    void guests() {
        if (report_.guests.empty()) return;
        TextTable table({{"VMID", Align::right},
                         {.title = "GUEST", .shrinks = true, .keeps_begin = true},
                         {.title = "STORAGE", .shrinks = true, .keeps_begin = true},
                         {"BACKUPS", Align::right},
                         {"SIZE", Align::right},
                         {"NEW", Align::right},
                         {"%", Align::right},
                         {.title = "TREND", .drops = true},
                         {.title = "VERIFIED", .align = Align::right, .drops = true}});
        const auto shown = whole_ ? report_.guests.size() : std::min(report_.guests.size(), kMostRows);
        for (std::size_t i = 0; i < shown; ++i) table.add(cells(report_.guests[i]));
        text_ += "\n" + table.render(console_);
        if (shown == report_.guests.size()) return;
        std::uint64_t new_bytes = 0;
        for (auto i = shown; i < report_.guests.size(); ++i) new_bytes += report_.guests[i].sums.new_bytes;
        text_ += fmt::format("and {} more with {} new; --all shows them\n", report_.guests.size() - shown,
                             base::format_size(new_bytes));
    }

    [[nodiscard]] std::vector<TextTable::Cell> cells(const GuestReport& row) const {
        const auto& sums = row.sums;
        return {{row.guest.vmid ? fmt::format("{}", *row.guest.vmid) : "-"},
                {row.guest.name.empty() ? "-" : row.guest.name},
                {row.guest.storage},
                {fmt::format("{}", sums.backups)},
                {size_cell(sums)},
                {new_cell(sums)},
                {percent_cell(sums)},
                {trend(row)},
                {row.archives == 0 ? "-"
                 : row.verified_at ? relative_time(*row.verified_at, report_.now)
                                   : "never",
                 row.unverified != 0 ? Colour::yellow : Colour::none}};
    }

    static std::string trend(const GuestReport& row) {
        std::vector<std::optional<std::uint64_t>> values;
        for (const auto& slot : row.slots)
            values.push_back(slot.compared_backups != 0 ? std::optional(slot.new_bytes) : std::nullopt);
        return spark_line(values, kTrendWidth);
    }

    void storages() {
        if (report_.storages.size() < 2) return;
        TextTable table({{.title = "STORAGE", .shrinks = true},
                         {"GUESTS", Align::right},
                         {"BACKUPS", Align::right},
                         {"SIZE", Align::right},
                         {"NEW", Align::right},
                         {"%", Align::right},
                         {.title = "KEPT", .align = Align::right, .drops = true},
                         {.title = "SIZE", .align = Align::right, .drops = true}});
        for (const auto& storage : report_.storages)
            table.add({{storage.storage},
                       {fmt::format("{}", storage.guests)},
                       {fmt::format("{}", storage.sums.backups)},
                       {size_cell(storage.sums)},
                       {new_cell(storage.sums)},
                       {percent_cell(storage.sums)},
                       {fmt::format("{}", storage.archives)},
                       {base::format_size(storage.archive_bytes)}});
        text_ += "\n" + table.render(console_);
    }

    /// Prints the first entries, and how many more there are. `print` takes one.
    template <typename Items, typename Print>
    void list(const std::string& title, const Items& items, const Print& print) {
        if (items.empty()) return;
        section(title);
        const auto shown = whole_ ? items.size() : std::min(items.size(), kMostEntries);
        for (std::size_t i = 0; i < shown; ++i) print(items[i]);
        if (shown < items.size())
            text_ += fmt::format("and {} more; --all shows them\n", items.size() - shown);
    }

    void entry(const std::string& text, std::size_t indent = 0) {
        for (const auto& part : wrapped(in_locale(text), console_.width() - indent))
            text_.append(indent, ' ').append(part) += '\n';
    }
    void detail(const std::string& text) { entry(text, 4); }

    void growths() {
        list("Largest growth", report_.growths, [&](const GrowthReport& growth) {
            entry(fmt::format("{}: {} new since {} ({} %)", archive_label(growth.path, growth.guest.name),
                              base::format_size(growth.since.new_bytes),
                              day_text(growth.since.archive_at, report_.now),
                              percent_text(growth.since.new_bytes, growth.size_bytes)));
            detail(largest_growth_text(growth.since));
        });
    }

    void damages() {
        list("Damaged archives", report_.damages, [&](const DamageReport& damage) {
            entry(archive_label(damage.path, damage.guest.name));
            // Whole, so that it can be copied.
            text_ += fmt::format("    {}\n", printable(damage.path));
            detail(printable(damage.fault));
            for (const auto& place : damage.places) detail(place_text(place));
            if (damage.last_good_at) detail(last_good_text(*damage.last_good_at, report_.now));
        });
    }

    void failures() {
        list("Failed jobs", report_.failures, [&](const FailureReport& failure) {
            entry(fmt::format(
                "{}: {}, the last {}", storage_in_brackets(failure.guest), counted(failure.jobs, "job"),
                relative_time(failure.last.ended_at.value_or(failure.last.queued_at), report_.now)));
            detail(printable(failure.last.reason));
        });
    }

    void missing() {
        list("Guests without a new backup", guests_without_backup(report_), [&](const GuestReport* row) {
            entry(row->last_at ? fmt::format("{}: the last one {}", storage_in_brackets(row->guest),
                                             relative_time(*row->last_at, report_.now))
                               : storage_in_brackets(row->guest));
        });
    }

    void unverified() {
        list(fmt::format("Not verified in the last {}",
                         base::format_duration(std::chrono::seconds(report_.verify_seconds))),
             unverified_guests(report_), [&](const GuestReport* row) {
                 entry(fmt::format("{}: {}", storage_in_brackets(row->guest),
                                   unverified_text(*row, report_.now)));
             });
    }

    const BackupReport& report_;
    bool whole_;
    const Console& console_;
    std::string text_;
};

}  // namespace

std::string report_text(const BackupReport& report, bool whole, const Console& console) {
    return Text(report, whole, console).run();
}

std::string title_text(const BackupReport& report) {
    return fmt::format("Backups on {}, {} to {}", printable(report.host),
                       day_text(std::max(report.since, report.slot_begins.front()), report.now),
                       // Of another year, which then is named.
                       day_text(report.now, 0));
}

std::string counted(std::uint64_t count, std::string_view noun) {
    return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

std::string guest_label(const ReportedGuest& guest) {
    if (!guest.vmid) return "other archives";
    return fmt::format("VM {}{}{}", *guest.vmid, guest.name.empty() ? "" : " ", printable(guest.name));
}

std::string percent_text(std::uint64_t part, std::uint64_t whole) {
    if (whole == 0) return {};
    const auto percent = 100 * static_cast<double>(part) / static_cast<double>(whole);
    if (part == 0 || percent >= 9.95) return fmt::format("{:.0f}", percent);
    return percent < 0.1 ? "<0.1" : fmt::format("{:.1f}", percent);
}

std::string size_cell(const BackupSums& sums) {
    return sums.backups == 0 ? "-" : base::format_size(sums.bytes);
}

std::string new_cell(const BackupSums& sums) {
    return sums.compared_backups == 0 ? "-" : base::format_size(sums.new_bytes);
}

std::string percent_cell(const BackupSums& sums) {
    return sums.compared_bytes == 0 ? "-" : percent_text(sums.new_bytes, sums.compared_bytes);
}

std::string verified_cell(const GuestReport& row, std::int64_t now) {
    if (row.archives == 0) return "-";
    return row.verified_at ? relative_time(*row.verified_at, now) : "never";
}

std::string kept_text(std::uint64_t archives, std::uint64_t bytes) {
    return archives == 0 ? "none"
                         : fmt::format("{}, {}", counted(archives, "archive"), base::format_size(bytes));
}

std::string sums_text(const BackupReport& report) {
    const auto& sums = report.sums;
    if (sums.backups == 0) return "none";
    std::set<std::optional<std::uint64_t>> guests;
    for (const auto& row : report.guests)
        if (row.sums.backups != 0) guests.insert(row.guest.vmid);
    auto text = fmt::format("{} of {}, {}", sums.backups, counted(guests.size(), "guest"),
                            base::format_size(sums.bytes));
    if (sums.compared_backups != 0)
        text += fmt::format(", of it {} new ({} %)", base::format_size(sums.new_bytes),
                            percent_text(sums.new_bytes, sums.compared_bytes));
    return text;
}

std::string uncompared_text(const BackupSums& sums) {
    const auto rest = sums.backups - sums.compared_backups;
    if (rest == 0 || sums.compared_backups == 0) return {};
    return fmt::format("not counted as new: {} ({}) without a previous one", counted(rest, "backup"),
                       base::format_size(sums.bytes - sums.compared_bytes));
}

std::string slot_text(const BackupReport& report) {
    if (report.days_per_slot == 1) return "per day";
    return report.days_per_slot == 7 ? "per week" : fmt::format("per {} days", report.days_per_slot);
}

std::string largest_growth_text(const api::NewSince& since) {
    const auto* disk = largest_growth(since);
    if (disk == nullptr) return {};
    return printable(fmt::format("{}: {}", access::short_name(disk->disk), growth_text(*disk)));
}

std::string last_good_text(std::int64_t at, std::int64_t now) {
    return fmt::format("last found good {}, {}", relative_time(at, now), minute_time(at));
}

std::string unverified_text(const GuestReport& guest, std::int64_t now) {
    const auto text = counted(guest.unverified, "archive");
    if (!guest.verified_at)
        return text + (guest.unverified == 1 ? ", never verified" : ", one of them never");
    return fmt::format("{}, {}verified {}", text, guest.unverified == 1 ? "" : "the first ",
                       relative_time(*guest.verified_at, now));
}

std::uint64_t failed_jobs(const BackupReport& report) {
    std::uint64_t jobs = 0;
    for (const auto& failure : report.failures) jobs += failure.jobs;
    return jobs;
}

std::vector<const GuestReport*> guests_without_backup(const BackupReport& report) {
    std::vector<const GuestReport*> rows;
    for (const auto& row : report.guests)
        if (row.guest.vmid && row.sums.backups == 0 && row.archives != 0) rows.push_back(&row);
    return rows;
}

std::vector<const GuestReport*> unverified_guests(const BackupReport& report) {
    std::vector<const GuestReport*> rows;
    for (const auto& row : report.guests)
        if (row.unverified != 0) rows.push_back(&row);
    return rows;
}

}  // namespace vmad::ctl
