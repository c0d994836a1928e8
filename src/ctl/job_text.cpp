#include "ctl/job_text.hpp"

#include <chrono>

#include <fmt/format.h>

#include "base/quantity.hpp"

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

std::string sizes_text(const api::Job& job) {
    if (!job.size_before) return {};
    const auto before = base::format_size(*job.size_before);
    return job.size_after ? fmt::format("{} → {}", before, base::format_size(*job.size_after)) : before;
}

std::string duration_text(const api::Job& job) {
    if (!job.started_at || !job.ended_at) return {};
    return base::format_duration(std::chrono::seconds(*job.ended_at - *job.started_at));
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
