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
constexpr std::size_t kReadBytes = 64 * 1024;
constexpr std::size_t kWriteBytes = 256 * 1024;

bool would_block(int error_number) noexcept { return error_number == EAGAIN || error_number == EINTR; }

}  // namespace

Connection::Connection(sd_event* event, base::UniqueFd socket, Peer peer, ConnectionOwner& owner,
                       std::size_t max_output_bytes)
    : socket_(std::move(socket)), peer_(peer), owner_(owner), max_output_bytes_(max_output_bytes) {
    sd_event_source* source = nullptr;
    check_event(sd_event_add_io(event, &source, socket_.get(), EPOLLIN, on_io, this), "sd_event_add_io");
    io_.reset(source);
    check_event(sd_event_add_defer(event, &source, on_backlog, this), "sd_event_add_defer");
    backlog_.reset(source);
    check_event(sd_event_source_set_enabled(source, SD_EVENT_OFF), "sd_event_source_set_enabled");
}

Connection::~Connection() { release_pending(); }

// No exception passes through the C code of sd-event: whatever goes wrong costs this client alone.

int Connection::on_io(sd_event_source*, int, std::uint32_t revents, void* self) noexcept {
    auto& connection = *static_cast<Connection*>(self);
    try {
        connection.wake(revents);
    } catch (const std::exception&) {
        connection.doom();
    }
    return 0;
}

int Connection::on_backlog(sd_event_source*, void* self) noexcept {
    auto& connection = *static_cast<Connection*>(self);
    try {
        connection.handle_next();
    } catch (const std::exception&) {
        connection.doom();
    }
    return 0;
}

void Connection::wake(std::uint32_t revents) {
    const bool gone = (revents & (EPOLLHUP | EPOLLERR)) != 0;
    // A client that only ended its sending (half-closed) still gets its answers, and a client that went away
    // after a oneway call gets it done; but an answer that nobody can take is not worth waiting for.
    if (gone && (pending_ || !out_.empty())) return doom();
    if ((revents & EPOLLOUT) != 0) transmit();
    if (doomed_) return;
    if (!pending_ && out_.empty() && !at_end_ && !in_.ready()) receive();
    if (!doomed_) handle_next();
}

void Connection::receive() {
    std::array<char, kReadBytes> bytes;
    const ssize_t count = ::recv(socket_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (count < 0) {
        if (!would_block(errno)) doom();
        return;
    }
    if (count == 0) at_end_ = true;
    in_.add({bytes.data(), static_cast<std::size_t>(count)});
}

void Connection::transmit() {
    const std::size_t count = std::min(out_.size() - sent_, kWriteBytes);
    const ssize_t taken = ::send(socket_.get(), out_.data() + sent_, count, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (taken < 0) {
        if (!would_block(errno)) doom();
        return;
    }
    last_active_ = Clock::now();
    sent_ += static_cast<std::size_t>(taken);
    // Cutting off what is gone moves the rest, so it waits until that is the smaller half.
    if (sent_ > out_.size() / 2) {
        out_.erase(0, sent_);
        sent_ = 0;
    }
}

void Connection::handle_next() {
    if (!doomed_ && !pending_ && out_.empty()) {
        if (const auto message = in_.next()) {
            last_active_ = Clock::now();
            Call call = parse_message(*message).get<Call>();
            auto pending = std::make_shared<PendingCall>();
            if (!call.oneway) {
                pending->connection = this;
                pending_ = pending;
            }
            owner_.handle(Request(std::move(call), peer_, std::move(pending)));
        }
    }
    update();
}

void Connection::send(const Reply& reply) noexcept {
    if (doomed_) return;
    try {
        const std::string bytes = frame_message(reply);
        if (out_.size() - sent_ + bytes.size() > max_output_bytes_) return doom();
        out_ += bytes;
    } catch (const std::exception&) {
        return doom();
    }
    if (!reply.continues) release_pending();
    last_active_ = Clock::now();
    update();
}

void Connection::doom() noexcept {
    if (std::exchange(doomed_, true)) return;
    sd_event_source_set_enabled(io_.get(), SD_EVENT_OFF);
    sd_event_source_set_enabled(backlog_.get(), SD_EVENT_OFF);
    owner_.doomed();
}

bool Connection::idle_since(Clock::time_point then) const noexcept {
    return !(pending_ && out_.empty()) && last_active_ < then;
}

std::function<void()> Connection::take_on_gone() noexcept {
    return pending_ ? std::exchange(pending_->on_gone, nullptr) : nullptr;
}

void Connection::release_pending() noexcept {
    const auto pending = std::exchange(pending_, nullptr);
    if (!pending) return;
    pending->connection = nullptr;
    pending->on_gone = nullptr;
}

/// Asks the loop for just those events that lead to progress now.
void Connection::update() noexcept {
    if (doomed_) return;
    std::uint32_t events = 0;
    if (!out_.empty()) {
        events = EPOLLOUT;
    } else if (!pending_) {
        if (in_.ready()) {
            if (sd_event_source_set_enabled(backlog_.get(), SD_EVENT_ONESHOT) < 0) return doom();
        } else if (at_end_) {
            return doom();
        } else {
            events = EPOLLIN;
        }
    }
    if (sd_event_source_set_io_events(io_.get(), events) < 0) doom();
}

}  // namespace vmad::varlink
