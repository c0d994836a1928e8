#include "base/child_start.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <string_view>

#include <fmt/format.h>

#include "base/error.hpp"

namespace vmad::base {
namespace {

/// What shells say of a program that cannot be run.
constexpr int kNotRun = 126;

std::vector<char*> pointers_to(std::vector<std::string>& texts) {
    std::vector<char*> pointers;
    for (auto& text : texts) pointers.push_back(text.data());
    pointers.push_back(nullptr);
    return pointers;
}

/// No handler of ours may run in the child: while this lives, all signals wait.
class SignalsBlocked {
  public:
    SignalsBlocked() noexcept {
        sigset_t all;
        ::sigfillset(&all);
        ::pthread_sigmask(SIG_SETMASK, &all, &before_);
    }
    SignalsBlocked(const SignalsBlocked&) = delete;
    SignalsBlocked& operator=(const SignalsBlocked&) = delete;
    ~SignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

  private:
    sigset_t before_;
};

void set_signals(bool ignores_stop_signals) noexcept {
    struct sigaction action {};
    action.sa_handler = SIG_DFL;
    for (int signal = 1; signal < NSIG; ++signal) ::sigaction(signal, &action, nullptr);
    action.sa_handler = SIG_IGN;
    if (ignores_stop_signals)
        for (const int signal : {SIGINT, SIGTERM, SIGHUP}) ::sigaction(signal, &action, nullptr);
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

/// A copy of the descriptor above all numbers that a child may be given, so that none of them is overwritten.
UniqueFd duplicate_high(int fd) {
    UniqueFd high(::fcntl(fd, F_DUPFD_CLOEXEC, ChildStart::kMaxNumber + 1));
    if (!high) throw_errno("duplicate", "a descriptor");
    return high;
}

std::string path_of(const std::string& program) {
    if (program.find('/') != program.npos) return program;
    auto path = find_program(program);
    if (!path) throw SystemError(ENOENT, "start", program);
    return *std::move(path);
}

/// The errno of what the child could not do; 0 when the program runs, or the child was killed before, or it
/// has not come so far in time.
int errno_from(int fd) noexcept {
    pollfd wanted{fd, POLLIN, 0};
    if (::poll(&wanted, 1, ChildStart::kPatienceMs) <= 0) return 0;
    int error = 0;
    ssize_t count = 0;
    do {
        count = ::read(fd, &error, sizeof error);
    } while (count < 0 && errno == EINTR);
    return count == sizeof error ? error : 0;
}

}  // namespace

Pipe make_pipe() {
    int fds[2];
    if (::pipe2(fds, O_CLOEXEC) != 0) throw_errno("create", "a pipe");
    return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

void set_non_blocking(const UniqueFd& fd) {
    if (::fcntl(fd.get(), F_SETFL, O_NONBLOCK) != 0) throw_errno("fcntl", "a pipe");
}

std::string describe_end(const siginfo_t& info) {
    return fmt::format("{} {}", info.si_code == CLD_EXITED ? "exit code" : "signal", info.si_status);
}

std::optional<std::string> find_program(const std::string& name) {
    const char* variable = std::getenv("PATH");
    std::string_view rest = variable == nullptr ? "/usr/bin:/bin" : variable;
    while (!rest.empty()) {
        const auto directory = rest.substr(0, rest.find(':'));
        rest.remove_prefix(std::min(rest.size(), directory.size() + 1));
        if (!directory.starts_with('/')) continue;
        const auto path = std::string(directory) + "/" + name;
        struct stat status {};
        if (::stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode) &&
            ::access(path.c_str(), X_OK) == 0)
            return path;
    }
    return std::nullopt;
}

/// All that the child needs, made before the fork: after it, in a process that had other threads, only
/// async-signal-safe functions may be called.
struct ChildStart::Child {
    const char* path;
    char* const* arguments;
    char* const* environment;
    int failure;  ///< takes errno of what it cannot do; closed when the program runs
    pid_t parent;
};

void ChildStart::give(int fd, int number) { given_.emplace_back(duplicate_high(fd), number); }

void ChildStart::become(const Child& child) const noexcept {
    if (dies_with_parent_) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        // The parent may have died before.
        if (::getppid() != child.parent) ::_exit(kNotRun);
    }
    bool is_ready = !own_group_ || ::setpgid(0, 0) == 0;
    for (const auto& [fd, number] : given_) is_ready = is_ready && ::dup2(fd.get(), number) == number;
    is_ready = is_ready && (directory_.empty() || ::chdir(directory_.c_str()) == 0);
    if (is_ready) {
        set_signals(ignores_stop_signals_);
        ::execve(child.path, child.arguments, child.environment);
    }
    const int error = errno;
    // The parent may have gone on.
    ::signal(SIGPIPE, SIG_IGN);
    (void)!::write(child.failure, &error, sizeof error);
    ::_exit(kNotRun);
}

// posix_spawn() would do, but for a child that dies with its parent.
pid_t ChildStart::run(const std::string& program, std::vector<std::string> arguments,
                      std::vector<std::string> environment) {
    const auto path = path_of(program);
    auto pipe = make_pipe();
    auto failure = duplicate_high(pipe.write.get());
    pipe.write.reset();
    const auto argument_pointers = pointers_to(arguments);
    const auto environment_pointers = pointers_to(environment);
    const Child child{.path = path.c_str(),
                      .arguments = argument_pointers.data(),
                      .environment = environment_pointers.data(),
                      .failure = failure.get(),
                      .parent = ::getpid()};
    pid_t pid = -1;
    int error = 0;
    {
        const SignalsBlocked blocked;
        pid = ::fork();
        if (pid == 0) become(child);
        error = errno;
    }
    // Only the child has them now, so that the other end of a pipe sees when it closes them.
    given_.clear();
    failure.reset();
    if (pid < 0) throw SystemError(error, "fork", program);
    error = errno_from(pipe.read.get());
    if (error == 0) return pid;
    while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
    throw SystemError(error, "start", program);
}

}  // namespace vmad::base
