// The child process that runs one job, as the daemon sees it.
//
// The daemon runs its own program again as `vmad worker`, so that a hung share, a crash of the engine or its
// memory never reach the queue. Everything happens in the thread of the event loop and never blocks, whatever
// the process does or does not do.
#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>

#include "api/worker_messages.hpp"
#include "base/unique_fd.hpp"
#include "daemon/output_lines.hpp"
#include "io/rate_limit.hpp"
#include "varlink/event_source.hpp"
#include "varlink/framing.hpp"

namespace vmad::daemon {

class WorkerProcess {
  public:
    struct Callbacks {
        std::function<void(const api::JobProgress&)> progress;
        std::function<void(const api::WorkerGuest&)> guest;
        /// Makes the record durable. When it throws, the worker gets no answer and ends.
        std::function<void(const api::WorkerRecord&)> record;
        /// A line that the process wrote to its standard error, without its end; cut when it is very long.
        std::function<void(const std::string& line)> said;
        /// The process is gone: with the result that it reported, or without one, and `how` it ended. Called
        /// once, last; it may destroy the object. A process that hangs in the kernel is given up in the same
        /// way after stop(): all that it may still do is to complete the call that it hangs in, and its locks
        /// hold until it has.
        std::function<void(const std::optional<api::WorkerResult>& result, const std::string& how)> ended;
    };

    /// Starts the process and lets it share `rate`. SIGCHLD must be blocked, and SIGPIPE ignored. Throws
    /// base::SystemError.
    WorkerProcess(sd_event* event, const api::WorkerOrder& order, const io::RateLimit& rate,
                  Callbacks callbacks);
    WorkerProcess(const WorkerProcess&) = delete;
    WorkerProcess& operator=(const WorkerProcess&) = delete;
    /// Kills a process that still runs.
    ~WorkerProcess();

    /// Makes the process stand still, or go on; no effect once it was asked to end.
    void set_halted(bool halted);

    /// Asks the process to end, halted or not, kills it when it has not after two seconds, and gives it up
    /// after three more.
    void stop();

  private:
    static int on_events(sd_event_source*, int, std::uint32_t, void* self) noexcept;
    static int on_errors(sd_event_source*, int, std::uint32_t, void* self) noexcept;
    static int on_exit(sd_event_source* source, const siginfo_t* info, void* self) noexcept;
    static int on_patience_end(sd_event_source*, std::uint64_t, void* self) noexcept;
    void watch(const base::UniqueFd& fd, sd_event_io_handler_t handler, varlink::EventSource& source);
    void wait_for_end(std::uint64_t usec);
    /// False when there is nothing, or nothing more, to be read.
    bool read_events();
    bool read_errors();
    void kill_if_unreadable() noexcept;
    void take(const std::string& line);
    void answer(std::string_view line);
    void end(const std::string& how);
    void leave_to_kernel() noexcept;

    sd_event* event_;
    Callbacks callbacks_;
    pid_t pid_ = -1;  ///< none once it has ended or was given up
    base::UniqueFd orders_;
    base::UniqueFd events_;
    base::UniqueFd errors_;
    varlink::MessageSplitter lines_{'\n'};
    OutputLines said_{[this](std::string_view line) { callbacks_.said(std::string(line)); }};
    std::optional<api::WorkerResult> result_;
    std::string fault_;  ///< why the worker was killed, when it broke the protocol
    bool killed_ = false;
    bool halted_ = false;
    varlink::EventSource events_source_;
    varlink::EventSource errors_source_;
    varlink::EventSource exit_source_;
    varlink::EventSource patience_;  ///< none before stop()
};

}  // namespace vmad::daemon
