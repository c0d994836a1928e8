#include "ctl/text/job_text.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "access/device_choice.hpp"
#include "base/progress_meter.hpp"
#include "base/units.hpp"
#include "ctl/text/archive_text.hpp"
#include "ctl/text/local_time.hpp"
#include "ctl/text/printable_text.hpp"
#include "ctl/text/text_table.hpp"
#include "pve/backup_name.hpp"

namespace vmad::ctl {
namespace {

using Align = TextTable::Align;

std::optional<std::uint64_t> size_of(const api::Job& job) {
    return job.size_after ? job.size_after : job.size_before;
}

std::string known(const std::string& text) { return text.empty() ? "-" : text; }

}  // namespace

Colour colour_of(api::JobState state) noexcept {
    switch (state) {
        case api::JobState::done:
        case api::JobState::unchanged:
            return Colour::green;
        case api::JobState::failed:
            return Colour::red;
        case api::JobState::waiting:
        case api::JobState::cancelled:
            return Colour::yellow;
        default:
            return Colour::none;
    }
}

const char* state_text(const api::Job& job) noexcept {
    if (job.kind == api::JobKind::verify) {
        if (job.state == api::JobState::done) return "verified";
        if (job.state == api::JobState::failed && job.damaged) return "damaged";
    }
    return api::to_string(job.state);
}

std::string job_label(const api::Job& job) { return archive_label(job.path, job.guest); }

std::string vmid_text(const api::Job& job) { return job.vmid ? fmt::format("{}", *job.vmid) : ""; }

std::string when_text(const api::Job& job, std::int64_t now) {
    switch (job.state) {
        case api::JobState::queued:
            return relative_time(job.queued_at, now);
        case api::JobState::running:
        case api::JobState::publishing:
            return relative_time(job.started_at.value_or(job.queued_at), now);
        case api::JobState::waiting:
            // Once the time has come, it waits only for its turn.
            return relative_time(std::max(job.retry_at.value_or(now), now), now);
        default:
            return relative_time(job.ended_at.value_or(job.queued_at), now);
    }
}

std::string sizes_text(const api::Job& job) {
    if (!job.size_before) return {};
    auto before = base::format_size(*job.size_before);
    if (job.kind == api::JobKind::verify) return before;
    return job.size_after ? fmt::format("{} → {}", before, base::format_size(*job.size_after)) : before;
}

std::string saving_text(const api::Job& job) {
    if (!job.size_after || job.size_before.value_or(0) == 0 || job.kind == api::JobKind::verify) return {};
    const auto before = static_cast<double>(*job.size_before);
    const auto saved = 100 * (before - static_cast<double>(*job.size_after)) / before;
    return fmt::format("{:.1f} % {}", std::abs(saved), saved < 0 ? "more" : "saved");
}

std::string share_text(std::uint64_t part, std::uint64_t whole) {
    if (part == 0 || whole == 0) return "0 %";
    const auto percent = 100 * static_cast<double>(part) / static_cast<double>(whole);
    return percent < 1 ? "< 1 %" : fmt::format("{:.0f} %", percent);
}

std::string new_text(const api::Job& job, std::int64_t now) {
    if (!job.since) return {};
    const auto before = job.since->archive_at;
    const auto made = pve::backup_time_of(job.path).value_or(now);
    const auto when = day_begin(before) == day_begin(made)
                          ? clock_time(static_cast<std::uint64_t>(before)).substr(0, 5)
                          : day_text(before, now);
    if (job.since->new_bytes == 0) return fmt::format("nothing new since {}", when);
    return fmt::format("{} new since {} ({})", base::format_size(job.since->new_bytes), when,
                       share_text(job.since->new_bytes, job.size_after.value_or(0)));
}

std::string result_text(const api::Job& job, std::int64_t now) {
    if (!job.since || !job.size_after) return sizes_text(job);
    return fmt::format("{}, {}", base::format_size(*job.size_after), new_text(job, now));
}

std::string growth_text(const api::DiskGrowth& disk) {
    if (disk.new_bytes == 0 || !disk.largest) return "nothing";
    const auto& largest = *disk.largest;
    const auto place = fmt::format(
        "{}at {} to {}", largest.partition.empty() ? "" : fmt::format("in partition {}, ", largest.partition),
        base::format_size(largest.offset), base::format_size(largest.offset + largest.bytes));
    if (largest.new_bytes == disk.new_bytes)
        return fmt::format("{}, {}", base::format_size(disk.new_bytes), place);
    return fmt::format("{}, {} of it {}", base::format_size(disk.new_bytes),
                       base::format_size(largest.new_bytes), place);
}

std::string elapsed_text(const api::Job& job) {
    if (!job.started_at || !job.ended_at) return {};
    return base::format_duration(std::chrono::seconds(*job.ended_at - *job.started_at));
}

std::string progress_text(const api::JobProgress& progress) {
    const auto percent = base::percent_of(progress.done_bytes, progress.total_bytes);
    auto text = percent ? fmt::format("{} %, {}", *percent,
                                      base::format_part(progress.done_bytes, progress.total_bytes))
                        : base::format_size(progress.done_bytes);
    if (progress.bytes_per_second != 0)
        text += fmt::format(", {}/s", base::format_size(progress.bytes_per_second));
    if (progress.remaining_seconds)
        text += fmt::format(", {} left",
                            base::format_duration(std::chrono::seconds(*progress.remaining_seconds)));
    return text;
}

std::string advice_for(const api::Job& job) {
    switch (job.state) {
        case api::JobState::waiting:
            if (job.waiting_for == api::WaitReason::grace_period) return {};
            return fmt::format("\"vmactl retry {0}\" retries now, \"vmactl cancel {0}\" cancels", job.id);
        case api::JobState::failed:
            if (job.damaged && job.kind == api::JobKind::verify)
                return fmt::format("try \"vmactl repair\"; \"vmactl cancel {}\" acknowledges", job.id);
            if (job.damaged)
                return fmt::format("make another backup; \"vmactl cancel {}\" acknowledges", job.id);
            return fmt::format("\"vmactl retry {0}\" retries, \"vmactl cancel {0}\" acknowledges", job.id);
        case api::JobState::cancelled:
            return fmt::format("\"vmactl retry {}\" queues it again", job.id);
        default:
            return {};
    }
}

std::string place_text(const api::DamagedPlace& place) {
    if (place.disk.empty()) return "the header of the archive";
    return fmt::format("{}: {} at {}{}{}", printable(access::short_name(place.disk)),
                       base::format_size(place.bytes), base::format_size(place.offset),
                       place.partition.empty() ? "" : ", partition ", printable(place.partition));
}

ProgressView progress_view(const api::Job& job) {
    const auto progress = job.progress.value_or(api::JobProgress{});
    return {.label = job_label(job),
            .done_bytes = progress.done_bytes,
            .total_bytes = progress.total_bytes,
            .bytes_per_second = progress.bytes_per_second,
            .remaining_seconds = progress.remaining_seconds};
}

std::string job_table(const std::vector<api::Job>& jobs, std::int64_t now, const Console& console) {
    if (jobs.empty()) return {};
    const bool has_new = std::any_of(jobs.begin(), jobs.end(), [](const auto& job) { return job.since; });
    const bool tells_kinds = std::any_of(
        jobs.begin(), jobs.end(), [](const api::Job& job) { return job.kind != api::JobKind::repack; });
    std::vector<TextTable::Column> columns{{"ID", Align::right},
                                           {"VMID", Align::right},
                                           {.title = "GUEST", .shrinks = true, .keeps_begin = true},
                                           {"BACKUP"},
                                           {.title = "STORAGE", .shrinks = true, .keeps_begin = true},
                                           {"STATE"},
                                           {"WHEN", Align::right}};
    if (has_new) columns.push_back({.title = "NEW", .align = Align::right, .drops = true});
    columns.push_back({.title = "SIZE", .align = Align::right, .drops = true});
    columns.push_back({.title = "FORMAT", .drops = true});
    if (tells_kinds) columns.insert(columns.begin() + 1, {"KIND"});
    TextTable table(std::move(columns));
    for (const auto& job : jobs) {
        const auto cells = archive_cells(job.path, now);
        std::vector<TextTable::Cell> row{
            {fmt::format("{}", job.id)}, {job.vmid ? vmid_text(job) : cells.vmid},
            {known(job.guest)},          {cells.time},
            {known(job.storage)},        {state_text(job), colour_of(job.state)},
            {when_text(job, now)}};
        if (has_new) row.push_back({job.since ? base::format_size(job.since->new_bytes) : "-"});
        row.push_back({size_of(job) ? base::format_size(*size_of(job)) : "-"});
        row.push_back({cells.format});
        if (tells_kinds) row.insert(row.begin() + 1, {api::to_string(job.kind)});
        table.add(std::move(row));
        if (!has_backup_name(job.path)) table.add_note(job.path);
        if (job.progress) table.add_note(progress_text(*job.progress) + (job.paused ? ", paused" : ""));
        table.add_note(job.reason);
    }
    return table.render(console);
}

void print_json(Console& console, const api::Job& job) { console.print_json(job); }

}  // namespace vmad::ctl
