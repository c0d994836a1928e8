// The child process that runs one job, as the daemon sees it.
//
// The daemon runs its own program again as `vmad worker`, so that a hung share, a crash of the engine or its
// memory never reach the queue. Everything happens in the thread of the event loop and never blocks.
#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>

#include "api/worker_messages.hpp"
#include "base/unique_fd.hpp"
#include "varlink/event_source.hpp"
#include "varlink/framing.hpp"

namespace vmad::daemon {

class WorkerProcess {
  public:
    struct Callbacks {
        std::function<void(const api::JobProgress&)> progress;
        /// Makes the record durable. When it throws, the worker gets no answer and ends.
        std::function<void(const nlohmann::json& record)> publication;
        /// The process is gone: with the result that it reported, or without one, and `how` it ended. Called
        /// once, last; it may destroy the object.
        std::function<void(const std::optional<api::WorkerResult>& result, const std::string& how)> ended;
    };

    /// Starts the process. SIGCHLD must be blocked, and SIGPIPE ignored. Throws base::SystemError.
    WorkerProcess(sd_event* event, const api::WorkerOrder& order, Callbacks callbacks);
    WorkerProcess(const WorkerProcess&) = delete;
    WorkerProcess& operator=(const WorkerProcess&) = delete;
    /// Kills a process that still runs.
    ~WorkerProcess();

    /// Asks the process to end, and kills it when it has not after two seconds.
    void stop();

  private:
    static int on_events(sd_event_source*, int, std::uint32_t, void* self) noexcept;
    static int on_exit(sd_event_source*, const siginfo_t* info, void* self) noexcept;
    static int on_patience_end(sd_event_source*, std::uint64_t, void* self) noexcept;
    void spawn(int orders, int events);
    /// False at the end of the stream.
    bool read_some();
    void take(const std::string& line);
    void end(const siginfo_t& info);
    void kill_now() noexcept;

    sd_event* event_;
    Callbacks callbacks_;
    pid_t pid_ = -1;
    base::UniqueFd orders_;
    base::UniqueFd events_;
    varlink::MessageSplitter lines_{'\n'};
    std::optional<api::WorkerResult> result_;
    std::string fault_;  ///< why the worker was killed, when it broke the protocol
    varlink::EventSource events_source_;
    varlink::EventSource exit_source_;
    varlink::EventSource patience_;
};

}  // namespace vmad::daemon
