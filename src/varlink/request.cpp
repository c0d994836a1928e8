#include "varlink/request.hpp"

#include <stdexcept>
#include <utility>

#include "varlink/connection.hpp"

namespace vmad::varlink {

void PendingCall::release() noexcept {
    connection = nullptr;
    const auto gone = std::exchange(on_gone, nullptr);
    const auto drained = std::exchange(on_drained, nullptr);
}

Request::Request(Call call, Peer peer, std::shared_ptr<PendingCall> pending) noexcept
    : call_(std::move(call)), peer_(peer), pending_(std::move(pending)) {}

Request& Request::operator=(Request&& other) noexcept {
    if (this == &other) return *this;
    drop();
    call_ = std::move(other.call_);
    peer_ = other.peer_;
    pending_ = std::move(other.pending_);
    return *this;
}

Request::~Request() { drop(); }

void Request::require_more() const {
    if (!call_.more) throw expected_more();
}

bool Request::open() const noexcept { return pending_ && pending_->connection != nullptr; }

void Request::reply_continues(nlohmann::json parameters) {
    if (!call_.more) throw std::logic_error("several replies to a call without more");
    send({std::move(parameters), true, {}});
}

void Request::reply(nlohmann::json parameters) { send({std::move(parameters), false, {}}); }

void Request::error(const RemoteError& error) { send({error.parameters(), false, error.name()}); }

void Request::when_gone(std::function<void()> on_gone) {
    if (open()) pending_->on_gone = std::move(on_gone);
}

void Request::when_drained(std::function<void()> on_drained) {
    if (!open()) return;
    // What it replaces may own a request; it goes when this is over.
    pending_->on_drained.swap(on_drained);
    pending_->connection->update();
}

void Request::send(const Reply& reply) {
    if (open()) pending_->connection->send(reply);
}

void Request::drop() noexcept {
    const std::shared_ptr<PendingCall> pending = std::exchange(pending_, nullptr);
    if (!pending) return;
    if (pending->connection != nullptr) pending->connection->close();
    pending->release();
}

}  // namespace vmad::varlink
