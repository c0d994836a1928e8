// One client of a server: its bytes in, its bytes out, and the one call of it that is being answered.
//
// At most one call is pending: while it is, or while the client has not taken earlier replies, nothing more
// is read. Each turn of the loop reads, handles and writes a bounded amount. Thread of the event loop only.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/unique_fd.hpp"
#include "varlink/event_source.hpp"
#include "varlink/framing.hpp"
#include "varlink/request.hpp"

namespace vmad::varlink {

class Connection;

class ConnectionOwner {
  public:
    ConnectionOwner() = default;
    ConnectionOwner(const ConnectionOwner&) = delete;
    ConnectionOwner& operator=(const ConnectionOwner&) = delete;
    virtual void handle(Request request) noexcept = 0;
    /// A connection is of no further use: destroy it soon, but not before this returns.
    virtual void closed() noexcept = 0;

  protected:
    ~ConnectionOwner() = default;
};

class Connection {
  public:
    using Clock = std::chrono::steady_clock;

    /// `socket` is non-blocking; `owner` outlives this. A client that leaves more than `max_output_bytes` of
    /// replies unread is dropped. Throws SystemError.
    Connection(sd_event* event, base::UniqueFd socket, Peer peer, ConnectionOwner& owner,
               std::size_t max_output_bytes);
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;
    /// The pending request, if any, stays with its holder, but goes nowhere.
    ~Connection();

    /// Queues a reply to the pending call.
    void send(const Reply& reply) noexcept;
    /// Asks the loop for just those events that lead to progress now; for whoever changed what that is.
    void update() noexcept;
    /// Stops everything, and notifies the owner. Safe at any time, even from a handler.
    void close() noexcept;
    [[nodiscard]] bool is_closed() const noexcept { return closed_; }
    /// True when the client alone is to blame for the silence since `then`.
    [[nodiscard]] bool idle_since(Clock::time_point then) const noexcept;
    /// The callback of the pending request's holder; empty when there is none.
    [[nodiscard]] std::function<void()> take_on_gone() noexcept;

  private:
    static int on_io(sd_event_source*, int, std::uint32_t revents, void* self) noexcept;
    static int on_next_turn(sd_event_source*, void* self) noexcept;
    void take_turn(const std::function<void()>& work) noexcept;
    void wake(std::uint32_t revents);
    void receive();
    void transmit();
    void proceed();
    void handle(std::string_view message);
    void release_pending() noexcept;

    base::UniqueFd socket_;
    Peer peer_;
    ConnectionOwner& owner_;
    std::size_t max_output_bytes_;
    MessageSplitter in_;
    std::string out_;
    std::size_t sent_ = 0;  ///< bytes of out_ that are gone
    bool at_end_ = false;   ///< the client sends nothing more
    bool closed_ = false;
    Clock::time_point last_active_ = Clock::now();
    std::shared_ptr<PendingCall> pending_;
    EventSource io_;
    EventSource next_turn_;  ///< for calls that were read but not handled yet, and streams to be continued
};

}  // namespace vmad::varlink
