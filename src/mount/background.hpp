// Going on in the background once a service is of use: until then, the one who started it waits, sees its
// messages, and gets its exit code when it fails.
#pragma once

#include "base/unique_fd.hpp"

namespace vmad::mount {

class Background {
  public:
    /// Forks; call it before any thread is started. The caller goes on as the child. The parent exits when
    /// detach() was called, with 0, or when the child ends before, as it has ended. Throws base::SystemError.
    static Background fork();
    /// Stays in the foreground: detach() does nothing.
    static Background none() { return Background({}); }

    /// Leaves the terminal and lets the parent go. Any thread; SIGPIPE is ignored. Throws base::SystemError,
    /// also when the parent is there no longer.
    void detach();

  private:
    explicit Background(base::UniqueFd parent) : parent_(std::move(parent)) {}

    base::UniqueFd parent_;  ///< a pipe to it
};

}  // namespace vmad::mount
