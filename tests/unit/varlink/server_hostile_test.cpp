// What a client can do to others: nothing.
#include <sys/resource.h>

#include <list>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "server_thread.hpp"

using namespace vmad::varlink;
using nlohmann::json;

namespace {

/// A good client gets its answer, whatever goes on beside it.
bool serves(const ServerThread& server) {
    Client client = server.client();
    return client.call("org.test.Echo", {{"a", 1}}, kPatience) == json{{"a", 1}};
}

ServerOptions limits(std::size_t max_output_bytes, std::chrono::milliseconds max_idle = kMaxIdle) {
    ServerOptions options;
    options.max_output_bytes = max_output_bytes;
    options.max_idle = max_idle;
    return options;
}

}  // namespace

TEST_CASE("a client that sends no Varlink is disconnected, and the others do not notice") {
    ServerThread server;
    const std::string nul(1, '\0');
    const std::string sent[] = {
        nul,
        "garbage" + nul,
        "GET / HTTP/1.1\r\n\r\n" + nul,
        "\xff\xfe" + nul,
        "[]" + nul,
        "{}" + nul,
        "{\"method\":\"org.test.Echo\",\"more\":true,\"oneway\":true}" + nul,
        "{\"method\":\"\xff\"}" + nul,
        std::string(kMaxMessageBytes, '[') + nul,
        std::string(kMaxMessageBytes + 1, '['),
        std::string(kMaxMessageBytes + 1, 'x') + nul,
        std::string(4 * kMaxMessageBytes, ' '),
        "{\"method\":\"org.test.Echo\",\"parameters\":" + std::string(40, '[') + std::string(40, ']') + "}" +
            nul,
    };
    RawClient bystander(server.socket());
    for (const std::string& bytes : sent) {
        CAPTURE(bytes.substr(0, 60));
        RawClient client(server.socket());
        client.send(bytes);
        CHECK(client.closed_by_server());
        CHECK(serves(server));
    }
    bystander.call(Call{"org.test.Echo"});
    CHECK(bystander.message() == R"({"parameters":{}})");
}

TEST_CASE("what came before the garbage is answered, what comes after it is not") {
    ServerThread server;
    RawClient client(server.socket());
    client.send(frame_message(Call{"org.test.Echo"}) + std::string("{\0", 2) +
                frame_message(Call{"org.test.Note"}));
    CHECK(client.message() == R"({"parameters":{}})");
    CHECK(client.closed_by_server());
    CHECK(server.noted == 0);
}

TEST_CASE("half a message holds nobody up, and ends with its client") {
    ServerThread server;
    std::string call = frame_message(Call{"org.test.Echo"});
    RawClient slow(server.socket());
    slow.send(call.substr(0, 10));
    CHECK(serves(server));
    slow.send(call.substr(10));
    CHECK(slow.message() == R"({"parameters":{}})");
    slow.send(call.substr(0, call.size() - 1));
    slow.end_sending();
    CHECK(slow.closed_by_server());
    CHECK(server.has_clients(0));
}

TEST_CASE("a flood of calls by some does not starve another") {
    ServerThread server;
    std::atomic<bool> stop = false;
    std::vector<std::thread> flooders;
    for (int i = 0; i < 4; ++i) {
        flooders.emplace_back([&] {
            std::string many;
            for (int n = 0; n < 1000; ++n)
                many += frame_message(Call{"org.test.Note", json::object(), false, true});
            RawClient client(server.socket());
            while (!stop) client.send(many);
        });
    }
    for (int i = 0; i < 50; ++i) CHECK(serves(server));
    stop = true;
    for (auto& flooder : flooders) flooder.join();
    CHECK(server.has_clients(0));
}

TEST_CASE("a client that pipelines without reading is not read from, and loses nothing") {
    ServerThread server(limits(std::size_t{4} << 20));
    RawClient client(server.socket());
    std::thread sender([&] {
        for (int i = 0; i < 40; ++i) client.call(Call{"org.test.Big", {{"size", 1'000'000}}});
    });
    CHECK(serves(server));
    for (int i = 0; i < 40; ++i) CHECK(client.message().size() > 1'000'000);
    sender.join();
}

TEST_CASE("a client that leaves too many replies of a stream unread is dropped") {
    ServerThread server(limits(std::size_t{1} << 20));
    RawClient client(server.socket());
    client.call(Call{"org.test.Later", json::object(), true, false});
    CHECK(server.becomes([&] { return server.held.size() == 1; }));
    const json reply{{"text", std::string(100'000, 'x')}};
    CHECK(server.becomes([&] {
        for (int i = 0; i < 10; ++i) server.held[0].reply_continues(reply);
        return !server.held[0].open();
    }));
    CHECK(server.gone == 1);
    CHECK(server.has_clients(0));
    CHECK(serves(server));
}

TEST_CASE("a reply above the limit of a message disconnects its client alone") {
    ServerThread server;
    Client client = server.client();
    CHECK_THROWS_AS(client.call("org.test.Big", {{"size", kMaxMessageBytes}}, kPatience), Disconnected);
    CHECK(serves(server));
}

TEST_CASE("one client more than the limit is closed at once, and there is room again when one goes") {
    ServerThread server;
    std::list<RawClient> clients;
    for (std::size_t i = 0; i < kMaxClients; ++i) clients.emplace_back(server.socket());
    CHECK(server.has_clients(kMaxClients));
    for (int i = 0; i < 100; ++i) {
        RawClient refused(server.socket());
        CHECK(refused.closed_by_server());
    }
    Client closed = server.client();
    CHECK_THROWS_AS(closed.call("org.test.Echo", {}, kPatience), Disconnected);
    clients.back().call(Call{"org.test.Echo"});
    CHECK(clients.back().message() == R"({"parameters":{}})");
    clients.pop_front();
    CHECK(server.has_clients(kMaxClients - 1));
    CHECK(serves(server));
    clients.clear();
    CHECK(server.has_clients(0));
}

TEST_CASE("whom the owner refuses gets PermissionDenied and no service") {
    ServerOptions options;
    options.allow = [](const Peer& peer) { return peer.uid != ::getuid(); };
    ServerThread server(options);
    for (int i = 0; i < 50; ++i) {
        Client client = server.client();
        std::string name;
        try {
            client.call("org.test.Note", {}, kPatience);
        } catch (const RemoteError& error) {
            name = error.name();
        }
        CHECK(name == "org.varlink.service.PermissionDenied");
    }
    CHECK(server.noted == 0);
    CHECK(server.has_clients(0));
}

TEST_CASE("an idle client is dropped, one whose answer is pending is not") {
    ServerThread server(limits(kMaxOutputBytes, std::chrono::milliseconds(30)));
    RawClient waiting(server.socket());
    waiting.call(Call{"org.test.Later"});
    CHECK(server.becomes([&] { return server.held.size() == 1; }));
    RawClient silent(server.socket());
    RawClient half(server.socket());
    half.send("{\"method\":");
    RawClient deaf(server.socket());  // asks for more than a socket holds, and takes none of it
    deaf.call(Call{"org.test.Big", {{"size", 1'000'000}}});
    CHECK(silent.closed_by_server());
    CHECK(half.closed_by_server());
    CHECK(server.has_clients(1));
    server.run([&] { server.held[0].reply(); });
    CHECK(waiting.message() == R"({"parameters":{}})");
    CHECK(waiting.closed_by_server());
}

TEST_CASE("a server without free descriptors recovers") {
    ServerThread server(limits(kMaxOutputBytes, std::chrono::milliseconds(50)));
    rlimit before{};
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
    RawClient probe(server.socket());
    CHECK(server.has_clients(1));
    RawClient client(server.socket());
    CHECK(server.has_clients(2));
    // Sockets that are made but not connected yet, so that connecting needs no descriptor of ours.
    std::vector<vmad::base::UniqueFd> sockets;
    for (int i = 0; i < 3; ++i) sockets.emplace_back(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const rlimit none{static_cast<rlim_t>(sockets.back().get() + 1), before.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
    const sockaddr_un address = socket_address(server.socket());
    for (const auto& socket : sockets)
        CHECK(::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    server.run([] {});  // the loop still turns
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
    CHECK(serves(server));
}
