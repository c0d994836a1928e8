#include "ctl/text/job_text.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>

#include <fmt/format.h>

#include "base/quantity.hpp"
#include "ctl/text/local_time.hpp"

namespace vmad::ctl {

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
            // Once the time has come, only its turn is missing.
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

std::string duration_text(const api::Job& job) {
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
            if (job.waiting_for == api::WaitReason::linger) return {};
            return fmt::format("\"vmactl retry {0}\" tries now, \"vmactl cancel {0}\" gives up", job.id);
        case api::JobState::failed:
            return fmt::format("\"vmactl retry {0}\" tries again, \"vmactl cancel {0}\" gives up", job.id);
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

}  // namespace vmad::ctl
