// Fails every system call that an operation of vmad makes through io::FileSystem, one at a time: each with
// every errno that it may have, as if it had not been done, as if it had, and so that the failure stays.
//
// The environment variable VMAD_FAULTS says how many of them: "all", or every N-th; by default few enough for
// every test run. Which ones is always the same.
#pragma once

#include <cerrno>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>

#include "failing_calls.hpp"

namespace vmad::fault {

/// One operation of vmad, and the files that it works on.
class Stage {
  public:
    virtual ~Stage() = default;
    /// The message of what went wrong, or nothing.
    [[nodiscard]] virtual std::string run(FailingFileSystem& fs) = 0;
    /// Looks at what is there now, lets a healthy file system do what comes next, and looks again. Demands
    /// what is to hold.
    virtual void check(const std::string& error, const Failure& failure) = 0;
};

/// A law that does not hold.
struct Broken : std::runtime_error {
    using runtime_error::runtime_error;
};

inline void demand(bool holds, const std::string& law) {
    if (!holds) throw Broken(law);
}

/// The file system says that a file is not there which is, or that a link is none: no failure, but a lie.
/// What is believed to be gone may stay then.
[[nodiscard]] inline bool hides_a_file(const Failure& failure) {
    return (failure.method == "status_at" && failure.error == ENOENT) ||
           (failure.method == "open_in_root" && failure.error == ENOENT) ||
           (failure.method == "seek" && failure.error == ENXIO) ||
           (failure.method == "read_link" && (failure.error == ENOENT || failure.error == EINVAL));
}

/// Runs the operation on a new stage for each failure, until one is not met. What breaks a law fails the
/// test that is running.
void fail_every_call(const std::string& title, const std::function<std::unique_ptr<Stage>()>& make);

/// What was tried so far, and in how many of those every law held: a line for each method and errno.
[[nodiscard]] std::string matrix_text();

}  // namespace vmad::fault
