// What starting a child process takes. Any thread.
#pragma once

#include <signal.h>
#include <spawn.h>
#include <sys/types.h>

#include <string>
#include <vector>

#include "base/unique_fd.hpp"

namespace vmad::daemon {

struct Pipe {
    base::UniqueFd read;
    base::UniqueFd write;
};

/// Throws base::SystemError, as set_non_blocking() does.
[[nodiscard]] Pipe make_pipe();
void set_non_blocking(const base::UniqueFd& fd);

/// "exit code 3", "signal 9".
[[nodiscard]] std::string how_it_ended(const siginfo_t& info);

/// Gathers what a child gets, then starts it: with default signals, none of them blocked, and no descriptor
/// that was not given to it (ours are all close-on-exec). All but run() throw base::SystemError for want of
/// memory or descriptors.
class ChildStart {
  public:
    ChildStart();
    ~ChildStart();
    ChildStart(const ChildStart&) = delete;
    ChildStart& operator=(const ChildStart&) = delete;

    /// The child has `fd` under `number`, at most kMaxNumber.
    void give(int fd, int number);
    void set_directory(const char* path);
    /// A process group of its own, with the number of the process.
    void set_own_group();

    /// To be called once. `program` is a path, or a name to be looked up in our PATH. Returns the process id.
    /// Throws base::SystemError, also when the program cannot be executed.
    [[nodiscard]] pid_t run(const std::string& program, std::vector<std::string> arguments,
                            std::vector<std::string> environment);

    static constexpr int kMaxNumber = 9;

  private:
    posix_spawn_file_actions_t actions_;
    posix_spawnattr_t attributes_;
    short flags_ = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
    std::vector<base::UniqueFd> given_;
};

}  // namespace vmad::daemon
