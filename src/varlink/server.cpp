#include "varlink/server.hpp"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <optional>
#include <utility>

#include "base/error.hpp"
#include "base/json_fields.hpp"

namespace vmad::varlink {

using nlohmann::json;

namespace {

constexpr int kAcceptsPerWakeUp = 16;
constexpr std::chrono::milliseconds kLongestTick = std::chrono::seconds(1);

// The interface is defined at https://varlink.org/Service.
constexpr char kServiceDescription[] = R"(# What every Varlink service says about itself.
interface org.varlink.service

# Who made this service, and which interfaces it has.
method GetInfo() -> (
  vendor: string,
  product: string,
  version: string,
  url: string,
  interfaces: []string
)

# The description of one interface, in the language of this text.
method GetInterfaceDescription(interface: string) -> (description: string)

# There is no such interface.
error InterfaceNotFound (interface: string)

# The interface has no such method.
error MethodNotFound (method: string)

# The interface has this method, but the service does not offer it.
error MethodNotImplemented (method: string)

# A parameter is missing, unknown, or of a wrong type or value.
error InvalidParameter (parameter: string)

# The caller may not do this.
error PermissionDenied ()

# The method gives several replies, and was called without "more".
error ExpectedMore ()
)";

Peer peer_of(int socket) {
    ucred credentials{};
    socklen_t size = sizeof credentials;
    if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) < 0)
        base::throw_errno("getsockopt", "client");
    return {credentials.uid, credentials.gid, credentials.pid};
}

void set_non_blocking(int fd) {
    const int flags = ::fcntl(fd, F_GETFL);
    if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) base::throw_errno("fcntl", "socket");
}

/// "text" in {"NAME": "text"}, and nothing beside it. Throws InvalidParameter with the field that is wrong.
std::string only_text(const json& parameters, const char* name) {
    try {
        base::Fields fields(parameters, "parameters");
        auto text = fields.get<std::string>(name);
        fields.refuse_others();
        return text;
    } catch (const base::FieldError& error) {
        throw invalid_parameter(error.field());
    }
}

}  // namespace

Server::Server(sd_event* event, base::UniqueFd listening, ServerOptions options)
    : options_(std::move(options)), event_(event), listening_(std::move(listening)) {
    set_non_blocking(listening_.get());
    sd_event_source* source = nullptr;
    check_event(sd_event_add_io(event, &source, listening_.get(), EPOLLIN, on_connect, this),
                "sd_event_add_io");
    accepting_.reset(source);
    check_event(sd_event_add_defer(event, &source, on_closed, this), "sd_event_add_defer");
    reaper_.reset(source);
    check_event(sd_event_add_time_relative(event, &source, CLOCK_MONOTONIC, 0, 0, on_tick, this),
                "sd_event_add_time_relative");
    tick_.reset(source);
    add(service_interface());
}

void Server::add(Interface interface) {
    std::string name = interface.name;
    interfaces_.insert_or_assign(std::move(name), std::move(interface));
}

Interface Server::service_interface() {
    const auto get_info = [this](Request& request) {
        if (!request.parameters().empty()) throw invalid_parameter(request.parameters().begin().key());
        json names = json::array({kServiceInterface});
        for (const auto& [name, interface] : interfaces_)
            if (name != kServiceInterface) names.push_back(name);
        request.reply({{"vendor", options_.vendor},
                       {"product", options_.product},
                       {"version", options_.version},
                       {"url", options_.url},
                       {"interfaces", std::move(names)}});
    };
    const auto get_description = [this](Request& request) {
        const std::string name = only_text(request.parameters(), "interface");
        const auto found = interfaces_.find(name);
        if (found == interfaces_.end()) throw interface_not_found(name);
        request.reply({{"description", found->second.description}});
    };
    return {kServiceInterface,
            kServiceDescription,
            {{"GetInfo", get_info}, {"GetInterfaceDescription", get_description}}};
}

// No exception passes through the C code of sd-event.

int Server::on_connect(sd_event_source*, int, std::uint32_t, void* self) noexcept {
    auto& server = *static_cast<Server*>(self);
    try {
        server.accept_some();
    } catch (const std::exception&) {
        server.pause_accepting();
    }
    server.schedule_tick();
    return 0;
}

int Server::on_tick(sd_event_source*, std::uint64_t, void* self) noexcept {
    auto& server = *static_cast<Server*>(self);
    sd_event_source_set_enabled(server.accepting_.get(), SD_EVENT_ON);
    server.drop_idle();
    if (!server.clients_.empty()) server.schedule_tick();
    return 0;
}

int Server::on_closed(sd_event_source*, void* self) noexcept {
    static_cast<Server*>(self)->reap();
    return 0;
}

void Server::accept_some() {
    for (int i = 0; i < kAcceptsPerWakeUp; ++i) {
        base::UniqueFd socket(::accept4(listening_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
        if (socket) {
            take(std::move(socket));
        } else if (errno == EAGAIN) {
            return;
        } else if (errno != EINTR && errno != ECONNABORTED) {
            return pause_accepting();
        }
    }
}

void Server::pause_accepting() noexcept {
    // Out of descriptors or memory: the client stays in the backlog, and waking up for it again at once
    // would only burn time. The next tick tries again.
    sd_event_source_set_enabled(accepting_.get(), SD_EVENT_OFF);
}

void Server::take(base::UniqueFd socket) {
    if (clients_.size() >= options_.max_clients) return;
    const Peer peer = peer_of(socket.get());
    if (options_.allow && !options_.allow(peer)) {
        const RemoteError denied = permission_denied();
        const std::string bytes = frame_message(Reply{denied.parameters(), false, denied.name()});
        // An empty socket has room for this; whether anybody reads it does not matter.
        static_cast<void>(::send(socket.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL));
        return;
    }
    ConnectionOwner& owner = *this;
    clients_.emplace_back(event_, std::move(socket), peer, owner, options_.max_output_bytes);
}

void Server::handle(Request request) noexcept {
    // When the handler moved the request away before it threw, these answers go nowhere.
    try {
        try {
            dispatch(request);
        } catch (const RemoteError& error) {
            request.error(error);
        } catch (const std::exception& failure) {
            if (options_.on_failure) request.error(options_.on_failure(request.call(), failure));
        }
    } catch (...) {
        // Not even the error could be sent: the request ends unanswered, and that disconnects the client.
    }
}

void Server::dispatch(Request& request) {
    const std::string& method = request.call().method;
    const auto dot = method.rfind('.');
    if (dot == std::string::npos) throw invalid_parameter("method");
    const auto interface = interfaces_.find(method.substr(0, dot));
    if (interface == interfaces_.end()) throw interface_not_found(method.substr(0, dot));
    const auto found = interface->second.methods.find(method.substr(dot + 1));
    if (found == interface->second.methods.end()) throw method_not_found(method);
    if (!found->second) throw method_not_implemented(method);
    found->second(request);
}

void Server::closed() noexcept { sd_event_source_set_enabled(reaper_.get(), SD_EVENT_ONESHOT); }

void Server::reap() noexcept {
    // The callbacks may close more connections, but destroy none: that is done here only.
    std::list<Connection> dead;
    for (auto client = clients_.begin(); client != clients_.end();) {
        const auto here = client++;
        if (here->is_closed()) dead.splice(dead.end(), clients_, here);
    }
    while (!dead.empty()) {
        const auto on_gone = dead.front().take_on_gone();
        dead.pop_front();
        if (on_gone) on_gone();
    }
}

void Server::drop_idle() noexcept {
    const auto limit = Connection::Clock::now() - options_.max_idle;
    for (Connection& client : clients_)
        if (client.idle_since(limit)) client.close();
}

void Server::schedule_tick() noexcept {
    // One that is on its way keeps its time, or many new clients would put it off for ever.
    if (sd_event_source_get_enabled(tick_.get(), nullptr) > 0) return;
    const auto step = std::chrono::microseconds(std::min(options_.max_idle, kLongestTick));
    sd_event_source_set_time_relative(tick_.get(), static_cast<std::uint64_t>(step.count()));
    sd_event_source_set_enabled(tick_.get(), SD_EVENT_ONESHOT);
}

}  // namespace vmad::varlink
