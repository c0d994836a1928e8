#include "daemon/service_manager.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <ctime>
#include <string_view>

#include <fmt/format.h>
#include <systemd/sd-daemon.h>

#include "base/error.hpp"
#include "base/progress_meter.hpp"
#include "base/text.hpp"
#include "varlink/event_source.hpp"
#include "varlink/unix_socket.hpp"

namespace vmad::daemon {
namespace {

using api::JobState;

std::string status_line(const api::JobCounts& counts, const std::vector<api::Job>& active) {
    auto line = fmt::format("{} queued, {} running, {} waiting, {} failed", counts[JobState::queued],
                            counts[JobState::running] + counts[JobState::publishing],
                            counts[JobState::waiting], counts[JobState::failed]);
    for (const auto& job : active) {
        if (!job.progress) continue;
        const auto percent = base::percent_of(job.progress->done_bytes, job.progress->total_bytes);
        if (percent) line += fmt::format("; {} {} %", job.path.substr(job.path.rfind('/') + 1), *percent);
    }
    return line;
}

constexpr mode_t kSocketMode = 0600;

/// The descriptor that the service manager passed under the name; none when it passed none.
base::UniqueFd passed_socket() {
    char** names = nullptr;
    // Not kept in the environment: children have none of it.
    const int count = sd_listen_fds_with_names(1, &names);
    varlink::check_event(count, "sd_listen_fds_with_names");
    base::UniqueFd found;
    for (int i = 0; i < count; ++i) {
        base::UniqueFd fd(SD_LISTEN_FDS_START + i);
        if (!found && std::string_view(names[i]) == kSocketName) found = std::move(fd);
        std::free(names[i]);
    }
    std::free(names);
    if (found && sd_is_socket(found.get(), AF_UNIX, SOCK_STREAM, 1) <= 0)
        throw base::Error(fmt::format("what the service manager passed as \"{}\" is no listening Unix socket",
                                      kSocketName));
    return found;
}

}  // namespace

void notify_ready() { sd_notify(0, "READY=1"); }

void notify_stopping() { sd_notify(0, "STOPPING=1"); }

ReloadNotice::ReloadNotice() {
    timespec time{};
    ::clock_gettime(CLOCK_MONOTONIC, &time);
    const auto usec = static_cast<long long>(time.tv_sec) * 1'000'000 + time.tv_nsec / 1000;
    sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%lld", usec);
}

ReloadNotice::~ReloadNotice() { notify_ready(); }

void StatusLine::update(const api::JobCounts& counts, const std::vector<api::Job>& active) {
    // A line break in a name would begin another message.
    auto line = base::printable(status_line(counts, active));
    if (line == sent_) return;
    sent_ = std::move(line);
    sd_notify(0, ("STATUS=" + sent_).c_str());
}

ServiceSocket::ServiceSocket(const std::string& path) : socket_(passed_socket()) {
    if (socket_) return;
    socket_ = varlink::listen_at(path, kSocketMode);
    own_path_ = path;
}

ServiceSocket::~ServiceSocket() {
    if (!own_path_.empty()) ::unlink(own_path_.c_str());
}

}  // namespace vmad::daemon
