#include "varlink/connection.hpp"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <exception>
#include <utility>

#include "base/error.hpp"

namespace vmad::varlink {

namespace {

/// Work for one client before the others have their turn.
constexpr std::size_t kReadBytes = 16 * 1024;
constexpr std::size_t kWriteBytes = 256 * 1024;

bool would_block(int error_number) noexcept { return error_number == EAGAIN || error_number == EINTR; }

}  // namespace

Connection::Connection(sd_event* event, base::UniqueFd socket, Peer peer, ConnectionOwner& owner,
                       std::size_t max_output_bytes)
    : socket_(std::move(socket)), peer_(peer), owner_(owner), max_output_bytes_(max_output_bytes) {
    sd_event_source* source = nullptr;
    check_event(sd_event_add_io(event, &source, socket_.get(), EPOLLIN, on_io, this), "sd_event_add_io");
    io_.reset(source);
    check_event(sd_event_add_defer(event, &source, on_next_turn, this), "sd_event_add_defer");
    next_turn_.reset(source);
    check_event(sd_event_source_set_enabled(source, SD_EVENT_OFF), "sd_event_source_set_enabled");
}

Connection::~Connection() { release_pending(); }

int Connection::on_io(sd_event_source*, int, std::uint32_t revents, void* self) noexcept {
    auto& connection = *static_cast<Connection*>(self);
    connection.take_turn([&] { connection.wake(revents); });
    return 0;
}

int Connection::on_next_turn(sd_event_source*, void* self) noexcept {
    auto& connection = *static_cast<Connection*>(self);
    connection.take_turn([&] { connection.proceed(); });
    return 0;
}

void Connection::take_turn(const std::function<void()>& work) noexcept {
    try {
        work();
    } catch (const std::exception&) {
        // No exception passes through the C code of sd-event: whatever goes wrong costs this client alone.
        close();
    }
}

void Connection::wake(std::uint32_t revents) {
    const bool gone = (revents & (EPOLLHUP | EPOLLERR)) != 0;
    // A client that only ended its sending (half-closed) still gets its answers, and a client that went away
    // after a oneway call gets it done; but an answer that nobody can take is not worth waiting for.
    if (gone && (pending_ || !out_.empty())) return close();
    if ((revents & EPOLLOUT) != 0) transmit();
    if (closed_) return;
    if (!pending_ && out_.empty() && !at_end_ && !in_.ready()) receive();
    proceed();
}

void Connection::receive() {
    std::array<char, kReadBytes> bytes;
    const ssize_t count = ::recv(socket_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (count < 0) {
        if (!would_block(errno)) close();
        return;
    }
    if (count == 0) at_end_ = true;
    in_.add({bytes.data(), static_cast<std::size_t>(count)});
}

void Connection::transmit() {
    const std::size_t count = std::min(out_.size() - sent_, kWriteBytes);
    const ssize_t taken = ::send(socket_.get(), out_.data() + sent_, count, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (taken < 0) {
        if (!would_block(errno)) close();
        return;
    }
    last_active_ = Clock::now();
    sent_ += static_cast<std::size_t>(taken);
    if (sent_ == out_.size()) {
        out_ = {};  // and its memory
        sent_ = 0;
    } else if (sent_ > out_.size() / 2) {
        // Cutting off what is gone moves the rest, so it waits until that is the smaller half.
        out_.erase(0, sent_);
        sent_ = 0;
    }
}

/// Does what waits for the client's taking all replies so far: continues a stream, or handles the next call.
void Connection::proceed() {
    if (closed_) return;
    if (out_.empty()) {
        if (!pending_) {
            if (const auto message = in_.next()) handle(*message);
        } else if (const auto on_drained = std::exchange(pending_->on_drained, nullptr)) {
            on_drained();
        }
        if (!closed_ && !out_.empty()) transmit();
    }
    update();
}

void Connection::handle(std::string_view message) {
    last_active_ = Clock::now();
    Call call = parse_message(message).get<Call>();
    auto pending = std::make_shared<PendingCall>();
    if (!call.oneway) {
        pending->connection = this;
        pending_ = pending;
    }
    owner_.handle(Request(std::move(call), peer_, std::move(pending)));
}

void Connection::send(const Reply& reply) noexcept {
    if (closed_) return;
    try {
        const std::string bytes = frame_message(reply);
        if (out_.size() - sent_ + bytes.size() > max_output_bytes_) return close();
        out_ += bytes;
    } catch (const std::exception&) {
        return close();
    }
    if (!reply.continues) release_pending();
    last_active_ = Clock::now();
    update();
}

void Connection::close() noexcept {
    if (std::exchange(closed_, true)) return;
    sd_event_source_set_enabled(io_.get(), SD_EVENT_OFF);
    sd_event_source_set_enabled(next_turn_.get(), SD_EVENT_OFF);
    owner_.closed();
}

bool Connection::idle_since(Clock::time_point then) const noexcept {
    return !(pending_ && out_.empty()) && last_active_ < then;
}

std::function<void()> Connection::take_on_gone() noexcept {
    return pending_ ? std::exchange(pending_->on_gone, nullptr) : nullptr;
}

void Connection::release_pending() noexcept {
    if (const auto pending = std::exchange(pending_, nullptr)) pending->release();
}

void Connection::update() noexcept {
    if (closed_) return;
    std::uint32_t events = 0;
    bool next_turn = false;
    if (!out_.empty()) {
        events = EPOLLOUT;
    } else if (pending_) {
        next_turn = pending_->on_drained != nullptr;
    } else if (in_.ready()) {
        next_turn = true;
    } else if (at_end_) {
        return close();
    } else {
        events = EPOLLIN;
    }
    if (next_turn && sd_event_source_set_enabled(next_turn_.get(), SD_EVENT_ONESHOT) < 0) return close();
    if (sd_event_source_set_io_events(io_.get(), events) < 0) close();
}

}  // namespace vmad::varlink
