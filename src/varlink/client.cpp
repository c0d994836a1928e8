#include "varlink/client.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "varlink/protocol.hpp"
#include "varlink/unix_socket.hpp"

namespace vmad::varlink {

using nlohmann::json;

namespace {

/// Closes the connection unless the call came to its proper end: what still arrives would answer the next.
class CallScope {
  public:
    explicit CallScope(base::UniqueFd& socket) : socket_(socket) {}
    CallScope(const CallScope&) = delete;
    CallScope& operator=(const CallScope&) = delete;
    ~CallScope() {
        if (!complete_) socket_.reset();
    }
    void complete() noexcept { complete_ = true; }

  private:
    base::UniqueFd& socket_;
    bool complete_ = false;
};

}  // namespace

Client::Client(const std::string& path, Limit limit) : path_(path) {
    const sockaddr_un address = socket_address(path);
    socket_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!socket_) base::throw_errno("socket", path);
    if (limit) {
        // A Unix socket with a full backlog lets a connect wait this long; poll cannot wait for that.
        const auto ms = std::max<std::int64_t>(limit->count(), 1);
        const timeval time{ms / 1000, (ms % 1000) * 1000};
        if (::setsockopt(socket_.get(), SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time) < 0)
            base::throw_errno("setsockopt", path);
    }
    int result;
    do {
        result = ::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
    } while (result < 0 && errno == EINTR);
    if (result == 0) return;
    if (errno == ENOENT || errno == ECONNREFUSED)
        throw Unreachable(base::SystemError(errno, "connect", path).what());
    if (errno == EAGAIN) throw TimedOut(fmt::format("{}: the server takes no connection", path));
    base::throw_errno("connect", path);
}

json Client::call(const std::string& method, json parameters, Limit limit) {
    const Deadline deadline = deadline_after(limit);
    CallScope scope(socket_);
    send({method, std::move(parameters), false, false}, deadline);
    Reply reply = receive(deadline);
    if (reply.continues) throw ProtocolError(fmt::format("{}: several replies to one call", path_));
    scope.complete();
    if (!reply.error.empty()) throw RemoteError(std::move(reply.error), std::move(reply.parameters));
    return std::move(reply.parameters);
}

void Client::call_more(const std::string& method, json parameters, Limit limit, const OnReply& on_reply) {
    const Deadline deadline = deadline_after(limit);
    CallScope scope(socket_);
    send({method, std::move(parameters), true, false}, deadline);
    for (bool last = false; !last;) {
        Reply reply = receive(deadline);
        last = !reply.continues;
        if (last) scope.complete();
        if (!reply.error.empty()) throw RemoteError(std::move(reply.error), std::move(reply.parameters));
        on_reply(std::move(reply.parameters));
    }
}

void Client::send(const Call& call, Deadline deadline) {
    if (!socket_) throw Disconnected(fmt::format("{}: the connection is closed", path_));
    const std::string bytes = frame_message(call);
    std::string_view rest = bytes;
    while (!rest.empty()) {
        const ssize_t count = ::send(socket_.get(), rest.data(), rest.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (count >= 0) {
            rest.remove_prefix(static_cast<std::size_t>(count));
        } else if (errno == EPIPE || errno == ECONNRESET) {
            return;  // A server that refuses us says so before it closes: receive finds it, or the end.
        } else if (errno == EAGAIN) {
            wait_for(POLLOUT, deadline);
        } else if (errno != EINTR) {
            base::throw_errno("send", path_);
        }
    }
}

Reply Client::receive(Deadline deadline) {
    while (true) {
        if (const auto message = in_.next()) return parse_message(*message).get<Reply>();
        std::array<char, std::size_t{64} * 1024> bytes;
        const ssize_t count = ::recv(socket_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
        if (count > 0) {
            in_.add({bytes.data(), static_cast<std::size_t>(count)});
        } else if (count == 0 || errno == ECONNRESET) {
            throw Disconnected(fmt::format("{}: the server closed the connection", path_));
        } else if (errno == EAGAIN) {
            wait_for(POLLIN, deadline);
        } else if (errno != EINTR) {
            base::throw_errno("recv", path_);
        }
    }
}

void Client::wait_for(short events, Deadline deadline) {
    constexpr std::chrono::nanoseconds kIdleInterval = std::chrono::seconds(1);
    pollfd fd{socket_.get(), events, 0};
    auto rest = kIdleInterval;
    if (deadline) {
        const std::chrono::nanoseconds left = *deadline - Clock::now();
        if (left.count() <= 0) throw TimedOut(fmt::format("{}: no answer in time", path_));
        rest = idle_ ? std::min(left, rest) : left;
    }
    const timespec time{rest.count() / 1'000'000'000, rest.count() % 1'000'000'000};
    const int count = ::ppoll(&fd, 1, deadline || idle_ ? &time : nullptr, nullptr);
    if (count < 0 && errno != EINTR) base::throw_errno("poll", path_);
    if (count == 0 && idle_) idle_();
}

Client::Deadline Client::deadline_after(Limit limit) {
    return limit ? Deadline(Clock::now() + *limit) : std::nullopt;
}

}  // namespace vmad::varlink
