// A program that runs as a filter: bytes go into its stdin, and come out of its stdout.
//
// It dies when the thread that started it ends, or this object: one thread, which outlives the program, makes
// and destroys it. In between any thread may use the descriptors; the rest is for one at a time. Nothing here
// changes the state of the process: no signal is ignored or handled.
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include <chrono>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/unique_fd.hpp"

namespace vmad::codec {

/// How a program ended.
struct ProgramEnd {
    int exit_status = 0;      ///< when no signal ended it
    int signal = 0;           ///< that ended it, or 0
    bool left_input = false;  ///< it did not read all that was sent
    std::string stderr_text;  ///< the first of what it wrote to stderr; lines end with '\n'
};

/// The first line of what it wrote to stderr, fit for a terminal.
[[nodiscard]] std::string first_line(const ProgramEnd& end);

class ChildProgram {
  public:
    /// Starts the file at `path` with `arguments`, the program's name in front. It gets this process's
    /// environment but for the variable `without`, and leaves signals that ask to stop to us. Throws
    /// base::SystemError.
    ChildProgram(const std::string& path, std::vector<std::string> arguments, const std::string& without);
    ChildProgram(const ChildProgram&) = delete;
    ChildProgram& operator=(const ChildProgram&) = delete;
    /// Kills the program if it still runs.
    ~ChildProgram();

    /// Waits up to `wait` until stdin takes bytes, and sends some: how many, 0 if it took none. Nothing when
    /// the program reads no more.
    [[nodiscard]] std::optional<std::size_t> send(std::span<const iovec> slices,
                                                  std::chrono::milliseconds wait);
    void kill() noexcept;
    /// The program finds the end of its stdin.
    void end_input() noexcept;
    /// Waits up to `wait` for output. How many bytes came, 0 at its end, nothing if there are none yet.
    [[nodiscard]] std::optional<std::size_t> receive(std::span<const iovec> into,
                                                     std::chrono::milliseconds wait);
    /// Waits up to `wait` for the program's end. Nothing when it still runs.
    [[nodiscard]] std::optional<ProgramEnd> wait_end(std::chrono::milliseconds wait);

  private:
    std::string path_;
    base::UniqueFd input_;    ///< a socket, because that can be written to without SIGPIPE
    base::UniqueFd output_;   ///< a pipe
    base::UniqueFd errors_;   ///< a file in memory, which takes a bounded number of bytes
    base::UniqueFd process_;  ///< becomes readable when the program ends
    pid_t pid_ = -1;
    std::optional<ProgramEnd> end_;
};

}  // namespace vmad::codec
