#include "ctl/text/job_text.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/units.hpp"
#include "ctl/text/local_time.hpp"
#include "ctl/text/text_table.hpp"

namespace vmad::ctl {
namespace {

using Align = TextTable::Align;

std::optional<std::uint64_t> size_of(const api::Job& job) {
    return job.size_after ? job.size_after : job.size_before;
}

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

std::string file_name(const api::Job& job) { return job.path.substr(job.path.rfind('/') + 1); }

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
    const auto before = base::format_size(*job.size_before);
    return job.size_after ? fmt::format("{} → {}", before, base::format_size(*job.size_after)) : before;
}

std::string saving_text(const api::Job& job) {
    if (!job.size_after || job.size_before.value_or(0) == 0) return {};
    const auto before = static_cast<double>(*job.size_before);
    const auto saved = 100 * (before - static_cast<double>(*job.size_after)) / before;
    return fmt::format("{:.1f} % {}", std::abs(saved), saved < 0 ? "more" : "saved");
}

std::string elapsed_text(const api::Job& job) {
    if (!job.started_at || !job.ended_at) return {};
    return base::format_duration(std::chrono::seconds(*job.ended_at - *job.started_at));
}

std::string percent_text(const api::JobProgress& progress) {
    if (progress.total_bytes == 0) return {};
    const auto part = static_cast<double>(progress.done_bytes) / static_cast<double>(progress.total_bytes);
    return fmt::format("{} %", static_cast<int>(100 * std::min(part, 1.0)));
}

std::string progress_text(const api::JobProgress& progress) {
    auto text = progress.stage;
    if (const auto percent = percent_text(progress); !percent.empty()) text += ", " + percent;
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
            return fmt::format("\"vmactl retry {0}\" retries, \"vmactl cancel {0}\" acknowledges", job.id);
        case api::JobState::cancelled:
            return fmt::format("\"vmactl retry {}\" queues it again", job.id);
        default:
            return {};
    }
}

ProgressView progress_view(const api::Job& job) {
    ProgressView view{fmt::format("job {}: {}", job.id, api::to_string(job.state)), 0, 0, 0, {}};
    if (!job.progress) return view;
    view.label = fmt::format("job {}: {}", job.id, job.progress->stage);
    view.done_bytes = job.progress->done_bytes;
    view.total_bytes = job.progress->total_bytes;
    view.bytes_per_second = job.progress->bytes_per_second;
    view.remaining_seconds = job.progress->remaining_seconds;
    return view;
}

std::string job_table(const std::vector<api::Job>& jobs, std::int64_t now, const Console& console) {
    if (jobs.empty()) return {};
    // Before an archive was read nobody knows its size, and its name needs the room.
    const bool sized = std::any_of(jobs.begin(), jobs.end(), size_of);
    std::vector<TextTable::Column> columns{
        {"ID", Align::right}, {"VMID", Align::right}, {"STATE"}, {"WHEN", Align::right}};
    if (sized) columns.push_back({"SIZE", Align::right});
    columns.push_back({"ARCHIVE", Align::left, true});
    TextTable table(std::move(columns));
    for (const auto& job : jobs) {
        std::vector<TextTable::Cell> row{{fmt::format("{}", job.id)},
                                         {vmid_text(job)},
                                         {api::to_string(job.state), colour_of(job.state)},
                                         {when_text(job, now)}};
        if (sized) row.push_back({size_of(job) ? base::format_size(*size_of(job)) : ""});
        row.push_back({file_name(job)});
        table.add(std::move(row));
        table.add_note(job.reason);
    }
    return table.render(console);
}

void print_json(Console& console, const api::Job& job) { console.print_json(job); }

}  // namespace vmad::ctl
