#include "codec/child_program.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include <climits>

#include "base/child_start.hpp"
#include "base/error.hpp"
#include "base/text.hpp"

namespace vmad::codec {
namespace {

/// How much of the program's stderr is kept.
constexpr off_t kMaxComplaintBytes = 4096;
/// Larger than a pipe is by itself, for fewer changes between the two processes.
constexpr int kPipeBytes = 1 << 20;

/// False when nothing happened in time.
bool wait_ready(int fd, short events, std::chrono::milliseconds wait) {
    pollfd wanted{fd, events, 0};
    const int ready = ::poll(&wanted, 1, static_cast<int>(wait.count()));
    if (ready < 0 && errno != EINTR) base::throw_errno("poll", "a program's stream");
    return ready > 0;
}

bool try_again() { return errno == EINTR || errno == EAGAIN; }

/// A file that takes kMaxComplaintBytes and fails any write beyond: the program is not held up, and needs no
/// reader.
base::UniqueFd make_stderr_file() {
    base::UniqueFd fd(::memfd_create("stderr", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (!fd || ::ftruncate(fd.get(), kMaxComplaintBytes) != 0 ||
        ::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_GROW) != 0)
        base::throw_errno("memfd_create", "stderr");
    return fd;
}

std::string stderr_text_in(int fd) {
    std::string text(kMaxComplaintBytes, '\0');
    const auto count = ::pread(fd, text.data(), text.size(), 0);
    text.resize(count < 0 ? 0 : static_cast<std::size_t>(count));
    // What was not written to is zeros.
    text.resize(std::min(text.find('\0'), text.size()));
    return text;
}

std::vector<std::string> environment_without(const std::string& name) {
    std::vector<std::string> result;
    for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry)
        if (std::strncmp(*entry, (name + "=").c_str(), name.size() + 1) != 0) result.emplace_back(*entry);
    return result;
}

}  // namespace

std::string first_line(const ProgramEnd& end) {
    const std::string_view text = end.stderr_text;
    const auto begin = std::min(text.find_first_not_of("\r\n"), text.size());
    const auto line = text.substr(begin, text.find_first_of("\r\n", begin) - begin);
    return line.empty() ? "it does not say why" : base::printable(line);
}

ChildProgram::ChildProgram(const std::string& path, std::vector<std::string> arguments,
                           const std::string& without)
    : path_(path), errors_(make_stderr_file()) {
    std::array<int, 2> pair;
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()) != 0)
        base::throw_errno("socketpair", path_);
    input_.reset(pair[0]);
    const base::UniqueFd child_input(pair[1]);
    auto output = base::make_pipe();
    output_ = std::move(output.read);
    // A hint: the system's limit for pipes may be lower.
    (void)::fcntl(output_.get(), F_SETPIPE_SZ, kPipeBytes);

    base::ChildStart start;
    start.give(child_input.get(), STDIN_FILENO);
    start.give(output.write.get(), STDOUT_FILENO);
    start.give(errors_.get(), STDERR_FILENO);
    start.set_dies_with_parent();
    start.set_ignores_stop_signals();
    pid_ = start.run(path_, std::move(arguments), environment_without(without));
    process_.reset(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
    if (!process_) {
        const int error = errno;
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
        throw base::SystemError(error, "pidfd_open", path_);
    }
}

ChildProgram::~ChildProgram() {
    if (end_) return;
    kill();
    while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
}

std::optional<std::size_t> ChildProgram::send(std::span<const iovec> slices, std::chrono::milliseconds wait) {
    if (!wait_ready(input_.get(), POLLOUT, wait)) return 0;
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(slices.data());
    message.msg_iovlen = std::min<std::size_t>(slices.size(), IOV_MAX);
    const auto count = ::sendmsg(input_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count >= 0) return static_cast<std::size_t>(count);
    if (try_again()) return 0;
    if (errno == EPIPE || errno == ECONNRESET) return std::nullopt;
    base::throw_errno("sendmsg", path_);
}

void ChildProgram::kill() noexcept {
    // Until it was waited for, its number is not given to another process.
    if (!end_) ::kill(pid_, SIGKILL);
}

void ChildProgram::end_input() noexcept { ::shutdown(input_.get(), SHUT_WR); }

std::optional<std::size_t> ChildProgram::receive(std::span<const iovec> into,
                                                 std::chrono::milliseconds wait) {
    if (!wait_ready(output_.get(), POLLIN, wait)) return std::nullopt;
    const auto slices = static_cast<int>(std::min<std::size_t>(into.size(), IOV_MAX));
    const auto count = ::readv(output_.get(), into.data(), slices);
    if (count >= 0) return static_cast<std::size_t>(count);
    if (try_again()) return std::nullopt;
    base::throw_errno("read", path_);
}

std::optional<ProgramEnd> ChildProgram::wait_end(std::chrono::milliseconds wait) {
    if (end_ || !wait_ready(process_.get(), POLLIN, wait)) return end_;
    siginfo_t info{};
    if (::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG) != 0)
        base::throw_errno("waitid", path_);
    if (info.si_pid == 0) return std::nullopt;
    end_.emplace();
    (info.si_code == CLD_EXITED ? end_->exit_status : end_->signal) = info.si_status;
    int error = 0;
    socklen_t size = sizeof error;
    // So a socket shows that its other end was closed before it was empty.
    if (::getsockopt(input_.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0)
        base::throw_errno("getsockopt", path_);
    end_->left_input = error != 0;
    end_->stderr_text = stderr_text_in(errors_.get());
    return end_;
}

}  // namespace vmad::codec
