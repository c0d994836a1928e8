// A Varlink service on an event loop: takes clients, introduces itself (org.varlink.service), and hands
// calls to the handlers of its interfaces.
//
// Everything runs in the thread of the loop and never blocks. The number of clients, their messages, unread
// replies, idle time and the work of one wake-up are limited.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <list>
#include <map>
#include <string>
#include <vector>

#include "base/unique_fd.hpp"
#include "varlink/connection.hpp"
#include "varlink/event_source.hpp"
#include "varlink/request.hpp"

namespace vmad::varlink {

/// Clients at a time; one more is accepted and closed at once.
inline constexpr std::size_t kMaxClients = 128;
/// Bytes of replies that a client may leave unread before it is dropped.
inline constexpr std::size_t kMaxOutputBytes = std::size_t{4} << 20;
/// A client without a pending call is dropped after this time.
inline constexpr std::chrono::milliseconds kMaxIdle = std::chrono::minutes(5);

/// Answers the request, or moves it away to answer later. What it throws before that is the answer: a
/// RemoteError as it is, anything else as ServerOptions::on_failure says.
using Handler = std::function<void(Request&)>;

struct Interface {
    std::string name;
    std::string description;  ///< the text of the .varlink file
    /// By plain name, without the interface. An empty handler answers MethodNotImplemented.
    std::map<std::string, Handler> methods;
};

struct ServerOptions {
    std::string vendor;
    std::string product;
    std::string version;
    std::string url;
    /// Who may call; empty: everybody whom the mode of the socket lets in. The others get PermissionDenied.
    std::function<bool(const Peer&)> allow;
    /// Makes a failure of a handler the error for the client, and may log it. Must not throw. Empty: such a
    /// client is disconnected.
    std::function<RemoteError(const Call&, const std::exception&)> on_failure;
    std::size_t max_clients = kMaxClients;
    std::size_t max_output_bytes = kMaxOutputBytes;
    std::chrono::milliseconds max_idle = kMaxIdle;
};

class Server final : private ConnectionOwner {
  public:
    /// Serves `listening`, a Unix stream socket that listens already, while `event` runs. Throws SystemError.
    Server(sd_event* event, base::UniqueFd listening, ServerOptions options);
    /// Disconnects everybody. Requests that are still held go nowhere, and no callback is called.
    ~Server() = default;

    /// Replaces an interface of the same name.
    void add(Interface interface);
    [[nodiscard]] std::size_t client_count() const noexcept { return clients_.size(); }

  private:
    static int on_connect(sd_event_source*, int, std::uint32_t, void* self) noexcept;
    static int on_tick(sd_event_source*, std::uint64_t, void* self) noexcept;
    static int on_closed(sd_event_source*, void* self) noexcept;
    void accept_some();
    void pause_accepting() noexcept;
    void take(base::UniqueFd socket);
    void handle(Request request) noexcept override;
    void closed() noexcept override;
    void dispatch(Request& request);
    void drop_idle() noexcept;
    void reap() noexcept;
    void schedule_tick() noexcept;
    [[nodiscard]] Interface service_interface();

    ServerOptions options_;
    sd_event* event_;
    base::UniqueFd listening_;
    std::map<std::string, Interface> interfaces_;
    EventSource accepting_;
    EventSource tick_;               ///< runs while there is a client, or while accepting pauses
    EventSource reaper_;             ///< destroys closed connections, when none of their code runs
    std::list<Connection> clients_;  ///< last: their end may still touch the rest
};

}  // namespace vmad::varlink
