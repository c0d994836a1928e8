// A call in the hands of the one who answers it, now or later.
//
// Belongs to the thread of the event loop. It outlives its client and its server without harm: what is
// said then goes nowhere.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>

#include <nlohmann/json.hpp>

#include "varlink/protocol.hpp"

namespace vmad::varlink {

class Connection;

/// The process at the other end when it connected, as reported by the kernel (SO_PEERCRED).
struct Peer {
    uid_t uid = 0;
    gid_t gid = 0;
    pid_t pid = 0;
};

/// What ties a Request to its client, owned by both.
struct PendingCall {
    Connection* connection = nullptr;  ///< null once no answer is taken any more
    std::function<void()> on_gone;
    std::function<void()> on_drained;

    /// Unties them. What is dropped here may own the Request, whose end then finds nothing left to do.
    void release() noexcept;
};

/// Move-only. One that is dropped before its last reply closes the connection, so that nobody waits for ever.
class Request {
  public:
    Request(Call call, Peer peer, std::shared_ptr<PendingCall> pending) noexcept;
    Request(Request&&) noexcept = default;
    Request& operator=(Request&& other) noexcept;
    Request(const Request&) = delete;
    Request& operator=(const Request&) = delete;
    ~Request();

    [[nodiscard]] const Call& call() const noexcept { return call_; }
    [[nodiscard]] const nlohmann::json& parameters() const noexcept { return call_.parameters; }
    [[nodiscard]] const Peer& peer() const noexcept { return peer_; }
    /// Throws ExpectedMore, for a handler to pass on, when the caller takes only one reply.
    void require_more() const;
    /// True while a reply would be taken: not after the last one, nor when the client is gone, nor for
    /// oneway.
    [[nodiscard]] bool open() const noexcept;

    /// A reply that others follow. Only for a call with `more`: throws std::logic_error otherwise.
    void reply_continues(nlohmann::json parameters);
    /// The last reply.
    void reply(nlohmann::json parameters = nlohmann::json::object());
    /// The last reply, an error by its full name.
    void error(const RemoteError& error);

    /// `on_gone` is called once, from the event loop, when the client goes before the last reply; it may
    /// destroy this request. It must not throw. Not called when the server itself goes.
    void when_gone(std::function<void()> on_gone);

    /// For a long stream: `on_drained` is called once, from a later turn of the event loop, when the kernel
    /// has taken all replies so far; it may send more and ask again, and end or destroy this request. So a
    /// stream goes in portions, others get their turn between them, and a client that reads slowly slows
    /// down its own stream only. What it throws disconnects the client. It is dropped uncalled with the
    /// last reply or when the client goes, so it may own this request.
    void when_drained(std::function<void()> on_drained);

  private:
    void send(const Reply& reply);
    void drop() noexcept;

    Call call_;
    Peer peer_;
    std::shared_ptr<PendingCall> pending_;  ///< null after a move
};

}  // namespace vmad::varlink
