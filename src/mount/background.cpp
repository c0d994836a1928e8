#include "mount/background.hpp"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "base/child_start.hpp"
#include "base/error.hpp"

namespace vmad::mount {
namespace {

/// Waits for a byte from the child, or for its end.
[[noreturn]] void wait_for(pid_t child, const base::UniqueFd& from_child) {
    char byte = 0;
    ssize_t count = 0;
    do count = ::read(from_child.get(), &byte, 1);
    while (count < 0 && errno == EINTR);
    if (count == 1) ::_exit(0);
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    ::_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

}  // namespace

Background Background::fork() {
    auto pipe = base::make_pipe();
    const auto child = ::fork();
    if (child < 0) base::throw_errno("fork", "vmad-mount");
    if (child > 0) {
        pipe.write.reset();
        wait_for(child, pipe.read);
    }
    return Background(std::move(pipe.write));
}

void Background::detach() {
    if (!parent_) return;
    if (::setsid() < 0 || ::chdir("/") < 0) base::throw_errno("leave", "the terminal");
    const base::UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
    if (!null) base::throw_errno("open", "/dev/null");
    for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
        if (::dup2(null.get(), fd) < 0) base::throw_errno("dup2", "/dev/null");
    if (::write(parent_.get(), "", 1) < 0) base::throw_errno("write", "a pipe");
    parent_.reset();
}

}  // namespace vmad::mount
