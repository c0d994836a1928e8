#include "varlink/unix_socket.hpp"

#include <sys/stat.h>

#include <cerrno>
#include <chrono>
#include <thread>

#include <fmt/format.h>

#include "base/error.hpp"

namespace vmad::varlink {

namespace {

/// Connections that wait to be accepted. The socket unit says the same.
constexpr int kBacklog = 128;

base::UniqueFd make_socket(const std::string& path) {
    base::UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd) base::throw_errno("socket", path);
    return fd;
}

/// Also when its backlog is full (EAGAIN). False leaves the errno of the connect.
bool is_listened_at(const std::string& path, const sockaddr_un& address) {
    const base::UniqueFd probe = make_socket(path);
    const int result = ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
    const int number = errno;
    if (result == 0 || number == EAGAIN) return true;
    errno = number;
    return false;
}

/// Removes what a dead process left.
void remove_stale(const std::string& path, const sockaddr_un& address) {
    struct stat found {};
    if (::lstat(path.c_str(), &found) < 0) {
        if (errno == ENOENT) return;
        base::throw_errno("lstat", path);
    }
    if (!S_ISSOCK(found.st_mode)) throw base::Error(path + " is there already and not a socket");
    // A killed process may have left a child that has not been executed yet, and holds the socket until then.
    for (int attempts = 40; is_listened_at(path, address); --attempts) {
        if (attempts == 0) throw base::Error("another process listens at " + path);
        std::this_thread::sleep_for(std::chrono::milliseconds(25));
    }
    if (errno != ECONNREFUSED) base::throw_errno("connect", path);
    if (::unlink(path.c_str()) < 0 && errno != ENOENT) base::throw_errno("unlink", path);
}

}  // namespace

sockaddr_un socket_address(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.empty() || path.size() >= sizeof address.sun_path)
        throw base::Error(fmt::format("the path of a socket has 1 to {} bytes, this one has {}: {}",
                                      sizeof address.sun_path - 1, path.size(), path));
    path.copy(address.sun_path, path.size());
    return address;
}

base::UniqueFd listen_at(const std::string& path, mode_t mode) {
    const sockaddr_un address = socket_address(path);
    remove_stale(path, address);
    base::UniqueFd fd = make_socket(path);
    // bind gives the new name the mode of the descriptor, narrowed by the umask; the umask itself belongs to
    // the whole process, so it is not touched, and what it took away is given back afterwards.
    if (::fchmod(fd.get(), mode) < 0) base::throw_errno("fchmod", path);
    if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0)
        base::throw_errno("bind", path);
    if (::chmod(path.c_str(), mode) < 0) base::throw_errno("chmod", path);
    if (::listen(fd.get(), kBacklog) < 0) base::throw_errno("listen", path);
    return fd;
}

}  // namespace vmad::varlink
