// The commands for jobs that ended: the administrator's (on_success, on_failure), and the program that
// notifies.
//
// One runs at a time, the others wait in order. A command gets the job as JSON on stdin, and its output goes
// to the log. How it ends has no effect on anything but the log. As a service of systemd's, the command runs
// in a unit of its own, outside the sandbox of the service (mail programs are set-gid); else as a child, in a
// process group of its own. Belongs to the thread of the event loop, and never blocks it.
#pragma once

#include <chrono>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "api/job.hpp"
#include "varlink/event_source.hpp"

namespace vmad::daemon {

class CommandRunner {
  public:
    explicit CommandRunner(sd_event* event);
    CommandRunner(const CommandRunner&) = delete;
    CommandRunner& operator=(const CommandRunner&) = delete;
    /// Drops what waits, and kills what runs as a child.
    ~CommandRunner();

    /// `argv` is the path of a program and its arguments; empty: nothing is run. When too many wait, this one
    /// is dropped, which is logged. After `limit` the command gets SIGTERM, and SIGKILL if that does not do.
    void run(const std::vector<std::string>& argv, const api::Job& job, std::chrono::seconds limit) noexcept;

  private:
    class Command;
    void run_next() noexcept;
    void ended() noexcept;

    sd_event* event_;
    std::deque<std::unique_ptr<Command>> commands_;  ///< the first one runs
};

}  // namespace vmad::daemon
