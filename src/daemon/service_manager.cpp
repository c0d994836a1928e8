#include "daemon/service_manager.hpp"

#include <algorithm>
#include <ctime>

#include <fmt/format.h>
#include <systemd/sd-daemon.h>

#include "base/text.hpp"

namespace vmad::daemon {
namespace {

using api::JobState;

std::string status_line(const api::JobCounts& counts, const std::vector<api::Job>& active) {
    auto line = fmt::format("{} queued, {} running, {} waiting, {} failed", counts[JobState::queued],
                            counts[JobState::running] + counts[JobState::publishing],
                            counts[JobState::waiting], counts[JobState::failed]);
    for (const auto& job : active) {
        if (!job.progress || job.progress->total_bytes == 0) continue;
        const auto percent = static_cast<int>(100.0 * static_cast<double>(job.progress->done_bytes) /
                                              static_cast<double>(job.progress->total_bytes));
        line += fmt::format("; {} {} {} %", job.progress->stage, job.path.substr(job.path.rfind('/') + 1),
                            percent);
    }
    return line;
}

}  // namespace

void tell_ready() { sd_notify(0, "READY=1"); }

void tell_stopping() { sd_notify(0, "STOPPING=1"); }

ReloadNotice::ReloadNotice() {
    timespec time{};
    ::clock_gettime(CLOCK_MONOTONIC, &time);
    const auto usec = static_cast<long long>(time.tv_sec) * 1'000'000 + time.tv_nsec / 1000;
    sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%lld", usec);
}

ReloadNotice::~ReloadNotice() { tell_ready(); }

void StatusLine::tell(const api::JobCounts& counts, const std::vector<api::Job>& active) {
    // A line break in a name would begin another message.
    auto line = base::printable(status_line(counts, active));
    if (line == told_) return;
    told_ = std::move(line);
    sd_notify(0, ("STATUS=" + told_).c_str());
}

}  // namespace vmad::daemon
