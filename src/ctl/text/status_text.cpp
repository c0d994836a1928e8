#include "ctl/text/status_text.hpp"

#include <algorithm>
#include <chrono>

#include <fmt/format.h>

#include "base/units.hpp"
#include "ctl/text/job_text.hpp"
#include "ctl/text/local_time.hpp"
#include "ctl/text/printable_text.hpp"
#include "ctl/text/text_table.hpp"

namespace vmad::ctl {
namespace {

constexpr std::size_t kWaitingShown = 5;
constexpr std::size_t kGuestsShown = 10;
constexpr std::size_t kLabelWidth = 8;
constexpr const char* kNoJobs = "no pending jobs";

std::string counts_text(const api::JobCounts& counts) {
    std::string text;
    for (const auto state : {api::JobState::queued, api::JobState::running, api::JobState::publishing,
                             api::JobState::waiting, api::JobState::failed})
        if (counts[state] != 0)
            text += fmt::format("{}{} {}", text.empty() ? "" : ", ", counts[state], api::to_string(state));
    return text.empty() ? kNoJobs : text;
}

std::string archives_text(const api::ArchiveCounts& archives) {
    auto text = fmt::format("{} {}", archives.known, archives.known == 1 ? "archive" : "archives");
    if (archives.damaged != 0) text += fmt::format(", {} damaged", archives.damaged);
    if (archives.overdue != 0) text += fmt::format(", {} overdue", archives.overdue);
    if (archives.damaged + archives.overdue != 0) text += " (vmactl list --verified)";
    return text;
}

Colour colour_of(const api::ArchiveCounts& archives) {
    if (archives.damaged != 0) return Colour::red;
    return archives.overdue != 0 ? Colour::yellow : Colour::none;
}

std::string hold_text(const api::Status& status, std::int64_t now) {
    switch (*status.hold) {
        case api::Hold::paused:
            return "paused; resume with \"vmactl resume\"";
        case api::Hold::start_window:
            if (!status.hold_until) return "no jobs start outside start_window";
            return fmt::format("no jobs start until {}, {} (start_window)",
                               clock_time(static_cast<std::uint64_t>(*status.hold_until)).substr(0, 5),
                               relative_time(*status.hold_until, now));
        case api::Hold::vzdump:
            return "no jobs start while vzdump is running (defer_while_vzdump_runs)";
    }
    return {};
}

std::string totals_text(const api::Totals& totals) {
    auto text = fmt::format("{} {}", totals.done, totals.done == 1 ? "archive" : "archives");
    if (totals.done != 0)
        text += fmt::format(", {} → {}", base::format_size(totals.bytes_before),
                            base::format_size(totals.bytes_after));
    return text;
}

/// `width` columns for a line.
std::string overriding_text(const std::vector<std::string>& jobs, std::size_t width) {
    constexpr std::string_view kWhatToDo = "; see \"vmactl hook status\"";
    if (jobs.size() > 1) return fmt::format("{} backup jobs have their own script{}", jobs.size(), kWhatToDo);
    const auto text = [&](std::string_view id) {
        return fmt::format("backup job \"{}\" has its own script{}", id, kWhatToDo);
    };
    const auto used = text("").size();
    return text(shorten(printable(jobs.front()), width > used ? width - used : 1));
}

std::string header(const api::Status& status, const HookWarning& hook, std::int64_t now,
                   const Console& console) {
    std::string text;
    const auto line = [&](std::string_view label, const std::string& value, Colour colour = Colour::none) {
        text += fmt::format("{:<{}}{}\n", label, kLabelWidth, console.paint(colour, value));
    };
    const std::chrono::seconds up(std::max<std::int64_t>(now - status.started_at, 0));
    line("daemon", fmt::format("vmad {}, pid {}, {} {}", printable(status.version), status.pid,
                               status.workers, status.workers == 1 ? "worker" : "workers"));
    line("up", fmt::format("{}, since {}", base::format_duration(up),
                           iso_local_time(static_cast<std::uint64_t>(status.started_at))));
    if (status.hold) line("held", hold_text(status, now), Colour::yellow);
    if (hook.not_enabled)
        line("hook", "not enabled, backups are not announced; run \"vmactl hook enable\"", Colour::yellow);
    if (!hook.overriding_jobs.empty())
        line("hook", overriding_text(hook.overriding_jobs, console.width() - kLabelWidth), Colour::yellow);
    line("jobs", counts_text(status.counts));
    if (const auto& jobs = status.verify_counts; counts_text(jobs) != kNoJobs)
        line("verify", counts_text(jobs));
    if (const auto& archives = status.archives; archives.known != 0)
        line("known", archives_text(archives), colour_of(archives));
    if (status.oldest_at)
        line("oldest", fmt::format("queued {}", relative_and_iso_time(*status.oldest_at, now)));
    line("done", totals_text(status.totals));
    if (status.totals.last_success_at)
        line("", fmt::format("last success {}", relative_and_iso_time(*status.totals.last_success_at, now)));
    if (status.totals.last_failure_at)
        line("", fmt::format("last failure {}", relative_and_iso_time(*status.totals.last_failure_at, now)));
    return text;
}

/// A table with an empty line before it; nothing without jobs.
std::string section(const std::vector<api::Job>& jobs, std::int64_t now, const Console& console) {
    return jobs.empty() ? "" : "\n" + job_table(jobs, now, console);
}

std::string waiting_table(const api::Status& status, std::int64_t now, const Console& console) {
    auto waiting = status.waiting;
    if (waiting.empty()) return {};
    waiting.resize(std::min(waiting.size(), kWaitingShown));
    auto text = section(waiting, now, console);
    if (const auto others = status.counts[api::JobState::waiting] - waiting.size(); others != 0)
        text += fmt::format("and {} more; see \"vmactl list --state waiting\"\n", others);
    return text;
}

}  // namespace

std::string status_text(const api::Status& status, const HookWarning& hook, std::int64_t now,
                        const Console& console) {
    return header(status, hook, now, console) + section(status.active, now, console) +
           waiting_table(status, now, console) + section(status.recent, now, console);
}

std::string growth_table(std::vector<api::GuestSummary> guests, const Console& console) {
    std::erase_if(guests, [](const auto& guest) { return guest.week_backups == 0; });
    if (std::all_of(guests.begin(), guests.end(), [](const auto& guest) { return !guest.last_new_bytes; }))
        return {};
    std::stable_sort(guests.begin(), guests.end(),
                     [](const auto& a, const auto& b) { return a.week_new_bytes > b.week_new_bytes; });
    TextTable table({{"VMID", TextTable::Align::right},
                     {.title = "GUEST", .shrinks = true, .keeps_begin = true},
                     {.title = "STORAGE", .shrinks = true, .keeps_begin = true},
                     {"NEW, LAST 24 H", TextTable::Align::right},
                     {"NEW, LAST 7 DAYS", TextTable::Align::right}});
    const auto cell = [](std::uint64_t backups, std::uint64_t part, std::uint64_t whole, bool is_compared) {
        if (backups == 0 || !is_compared) return TextTable::Cell{"-"};
        return TextTable::Cell{fmt::format("{} of {}", base::format_size(part), base::format_size(whole))};
    };
    const auto known = [](const std::string& text) { return text.empty() ? "-" : text; };
    const auto shown = std::min(guests.size(), kGuestsShown);
    for (std::size_t i = 0; i < shown; ++i) {
        const auto& guest = guests[i];
        // Of a first backup nobody can say what is new.
        const bool is_compared = guest.last_new_bytes || guest.week_new_bytes != 0;
        table.add({{guest.vmid ? fmt::format("{}", *guest.vmid) : "-"},
                   {known(guest.guest)},
                   {known(guest.storage)},
                   cell(guest.day_backups, guest.day_new_bytes, guest.day_bytes, is_compared),
                   cell(guest.week_backups, guest.week_new_bytes, guest.week_bytes, is_compared)});
    }
    auto text = "\n" + table.render(console);
    if (guests.size() > shown)
        text += fmt::format("and {} more; see \"vmactl report\"\n", guests.size() - shown);
    return text;
}

}  // namespace vmad::ctl
