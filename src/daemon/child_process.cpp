#include "daemon/child_process.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <fmt/format.h>

#include "base/error.hpp"

namespace vmad::daemon {
namespace {

std::vector<char*> pointers_to(std::vector<std::string>& texts) {
    std::vector<char*> pointers;
    for (auto& text : texts) pointers.push_back(text.data());
    pointers.push_back(nullptr);
    return pointers;
}

void check(int error, const char* what) {
    if (error != 0) throw base::SystemError(error, what, "a child");
}

}  // namespace

Pipe make_pipe() {
    int fds[2];
    if (::pipe2(fds, O_CLOEXEC) != 0) base::throw_errno("create", "a pipe");
    return {base::UniqueFd(fds[0]), base::UniqueFd(fds[1])};
}

void set_non_blocking(const base::UniqueFd& fd) {
    if (::fcntl(fd.get(), F_SETFL, O_NONBLOCK) != 0) base::throw_errno("fcntl", "a pipe");
}

std::string how_it_ended(const siginfo_t& info) {
    if (info.si_code == CLD_EXITED) return fmt::format("exit code {}", info.si_status);
    return fmt::format("signal {}", info.si_status);
}

ChildStart::ChildStart() {
    ::posix_spawn_file_actions_init(&actions_);
    ::posix_spawnattr_init(&attributes_);
}

ChildStart::~ChildStart() {
    ::posix_spawn_file_actions_destroy(&actions_);
    ::posix_spawnattr_destroy(&attributes_);
}

void ChildStart::give(int fd, int number) {
    // Above all targets first: it may have the number that another one is to get.
    base::UniqueFd high(::fcntl(fd, F_DUPFD_CLOEXEC, kMaxNumber + 1));
    if (!high) base::throw_errno("duplicate", "a descriptor");
    check(::posix_spawn_file_actions_adddup2(&actions_, high.get(), number), "prepare");
    given_.push_back(std::move(high));
}

void ChildStart::set_directory(const char* path) {
    check(::posix_spawn_file_actions_addchdir_np(&actions_, path), "prepare");
}

void ChildStart::set_own_group() {
    ::posix_spawnattr_setpgroup(&attributes_, 0);
    flags_ |= POSIX_SPAWN_SETPGROUP;
}

pid_t ChildStart::run(const std::string& program, std::vector<std::string> arguments,
                      std::vector<std::string> environment) {
    sigset_t none;
    sigset_t all;
    sigemptyset(&none);
    sigfillset(&all);
    ::posix_spawnattr_setsigmask(&attributes_, &none);
    ::posix_spawnattr_setsigdefault(&attributes_, &all);
    ::posix_spawnattr_setflags(&attributes_, flags_);
    pid_t pid = -1;
    const int error = ::posix_spawnp(&pid, program.c_str(), &actions_, &attributes_,
                                     pointers_to(arguments).data(), pointers_to(environment).data());
    // Only the child has them now, so that the other end of a pipe sees when it closes them.
    given_.clear();
    if (error != 0) throw base::SystemError(error, "start", program);
    return pid;
}

}  // namespace vmad::daemon
