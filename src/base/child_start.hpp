// What starting a child process takes, and how it ended. Any thread.
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/unique_fd.hpp"

namespace vmad::base {

struct Pipe {
    UniqueFd read;
    UniqueFd write;
};

/// Both ends are close-on-exec. Throws SystemError, as set_non_blocking() does.
[[nodiscard]] Pipe make_pipe();
void set_non_blocking(const UniqueFd& fd);

/// "exit code 3", "signal 9".
[[nodiscard]] std::string describe_end(const siginfo_t& info);

/// The program that the shell would run for `name`: the first of this name in an absolute directory of PATH
/// that may be executed. Nothing when there is none.
[[nodiscard]] std::optional<std::string> find_program(const std::string& name);

/// Gathers what a child gets, then starts it: with default signals, none of them blocked, and no descriptor
/// that was not given to it (ours are all close-on-exec).
class ChildStart {
  public:
    /// The child has `fd` under `number`, at most kMaxNumber. Throws SystemError for want of descriptors.
    void give(int fd, int number);
    void set_directory(std::string path) { directory_ = std::move(path); }
    /// A process group of its own, with the number of the process.
    void set_own_group() noexcept { own_group_ = true; }
    /// It is killed when the thread that starts it ends.
    void set_dies_with_parent() noexcept { dies_with_parent_ = true; }
    /// It ignores SIGINT, SIGTERM and SIGHUP: what is to stop us may be sent to all processes at once, and
    /// then it is for us to end the child.
    void set_ignores_stop_signals() noexcept { ignores_stop_signals_ = true; }

    /// To be called once. `program` is a path, or a name for find_program(). Returns the process id. Throws
    /// SystemError, also when the program cannot be executed; unless that shows only after kPatienceMs, as on
    /// a share that does not answer: then the child ends by itself, with exit code 126.
    [[nodiscard]] pid_t run(const std::string& program, std::vector<std::string> arguments,
                            std::vector<std::string> environment);

    static constexpr int kMaxNumber = 9;
    static constexpr int kPatienceMs = 1000;

  private:
    struct Child;
    [[noreturn]] void become(const Child& child) const noexcept;

    std::vector<std::pair<UniqueFd, int>> given_;  ///< by the number that the child has it under
    std::string directory_;
    bool own_group_ = false;
    bool dies_with_parent_ = false;
    bool ignores_stop_signals_ = false;
};

}  // namespace vmad::base
