// A blocking client of a Varlink service, for command line tools.
//
// One call at a time; one thread at a time. Times are limits on a whole call; nothing means for ever.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "base/error.hpp"
#include "base/unique_fd.hpp"
#include "varlink/framing.hpp"

namespace vmad::varlink {

struct Call;
struct Reply;

/// Nobody serves the socket: it is not there, or nobody listens.
class Unreachable : public base::Error {
  public:
    using Error::Error;
};

/// The time for a call, or for connecting, was over.
class TimedOut : public base::Error {
  public:
    using Error::Error;
};

/// The server went away, or closed the connection, before the last reply.
class Disconnected : public base::Error {
  public:
    using Error::Error;
};

class Client {
  public:
    using Limit = std::optional<std::chrono::milliseconds>;
    using OnReply = std::function<void(nlohmann::json parameters)>;

    /// Throws Unreachable, TimedOut, or SystemError, which may be EACCES.
    Client(const std::string& path, Limit limit);

    /// `idle` is called about once a second while a call waits for the server; what it throws ends the call.
    void set_idle(std::function<void()> idle) { idle_ = std::move(idle); }

    /// Calls and returns the parameters of the reply. Throws RemoteError for an error reply, and
    /// Disconnected, TimedOut, ProtocolError or SystemError, after which the connection is closed.
    nlohmann::json call(const std::string& method, nlohmann::json parameters, Limit limit);

    /// Calls with `more`, and passes the parameters of each reply on, the last included. Throws as call does;
    /// what `on_reply` throws is passed on and closes the connection.
    void call_more(const std::string& method, nlohmann::json parameters, Limit limit,
                   const OnReply& on_reply);

  private:
    using Clock = std::chrono::steady_clock;
    using Deadline = std::optional<Clock::time_point>;

    void send(const Call& call, Deadline deadline);
    [[nodiscard]] Reply receive(Deadline deadline);
    void wait_for(short events, Deadline deadline);
    [[nodiscard]] static Deadline deadline_after(Limit limit);

    std::string path_;
    base::UniqueFd socket_;
    MessageSplitter in_;
    std::function<void()> idle_;
};

}  // namespace vmad::varlink
