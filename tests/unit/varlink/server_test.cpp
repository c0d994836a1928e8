// What a well-behaved client sees.
#include "varlink/server.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "server_thread.hpp"

using namespace vmad::varlink;
using nlohmann::json;

namespace {

json call(Client& client, const char* method, json parameters = json::object()) {
    return client.call(method, std::move(parameters), kPatience);
}

/// The name of the error and its parameters, as text.
std::string error_of(Client& client, const std::string& method, json parameters = json::object()) {
    try {
        client.call(method, std::move(parameters), kPatience);
    } catch (const RemoteError& error) {
        return error.what();
    }
    return "no error";
}

std::vector<json> replies_of(Client& client, const char* method, json parameters = json::object()) {
    std::vector<json> replies;
    client.call_more(method, std::move(parameters), kPatience,
                     [&](json reply) { replies.push_back(std::move(reply)); });
    return replies;
}

ServerOptions named_options() {
    ServerOptions options;
    options.vendor = "v";
    options.product = "p";
    options.version = "1";
    options.url = "u";
    options.on_failure = [](const Call& failed, const std::exception& failure) {
        return RemoteError("org.test.Failed", {{"method", failed.method}, {"reason", failure.what()}});
    };
    return options;
}

}  // namespace

TEST_CASE("the service introduces itself") {
    ServerThread server(named_options());
    Client client = server.client();
    CHECK(call(client, "org.varlink.service.GetInfo") ==
          json{{"vendor", "v"},
               {"product", "p"},
               {"version", "1"},
               {"url", "u"},
               {"interfaces", {"org.varlink.service", "org.test"}}});
    CHECK(call(client, "org.varlink.service.GetInterfaceDescription", {{"interface", "org.test"}}) ==
          json{{"description", "interface org.test\n"}});
    const json own =
        call(client, "org.varlink.service.GetInterfaceDescription", {{"interface", "org.varlink.service"}});
    CHECK(own["description"].get<std::string>().find("\ninterface org.varlink.service\n") !=
          std::string::npos);
}

TEST_CASE("what cannot be called gets the standard error with its parameter, and the next call works") {
    ServerThread server(named_options());
    Client client = server.client();
    const std::string service = "org.varlink.service.";
    const auto description = service + "GetInterfaceDescription";
    CHECK(error_of(client, "org.nowhere.Echo") ==
          service + R"(InterfaceNotFound {"interface":"org.nowhere"})");
    CHECK(error_of(client, "org.test.Nothing") ==
          service + R"(MethodNotFound {"method":"org.test.Nothing"})");
    CHECK(error_of(client, "org.test.") == service + R"(MethodNotFound {"method":"org.test."})");
    CHECK(error_of(client, "org.test.Undone") ==
          service + R"(MethodNotImplemented {"method":"org.test.Undone"})");
    CHECK(error_of(client, "Echo") == service + R"(InvalidParameter {"parameter":"method"})");
    CHECK(error_of(client, "") == service + R"(InvalidParameter {"parameter":"method"})");
    CHECK(error_of(client, ".") == service + R"(InterfaceNotFound {"interface":""})");
    CHECK(error_of(client, description) == service + R"(InvalidParameter {"parameter":"interface"})");
    CHECK(error_of(client, description, {{"interface", 1}}) ==
          service + R"(InvalidParameter {"parameter":"interface"})");
    CHECK(error_of(client, description, {{"interface", "org.test"}, {"odd", 1}}) ==
          service + R"(InvalidParameter {"parameter":"odd"})");
    CHECK(error_of(client, description, {{"interface", "org.nowhere"}}) ==
          service + R"(InterfaceNotFound {"interface":"org.nowhere"})");
    CHECK(error_of(client, service + "GetInfo", {{"odd", 1}}) ==
          service + R"(InvalidParameter {"parameter":"odd"})");
    CHECK(error_of(client, "org.test.Count", {{"count", 2}}) == service + "ExpectedMore");
    CHECK(call(client, "org.test.Echo", {{"a", 1}}) == json{{"a", 1}});
}

TEST_CASE("what a handler throws is the answer") {
    ServerThread server(named_options());
    Client client = server.client();
    CHECK(error_of(client, "org.test.Refuse") == R"(org.test.Refused {"why":"so"})");
    CHECK(error_of(client, "org.test.Fail") ==
          R"(org.test.Failed {"method":"org.test.Fail","reason":"it broke"})");
    CHECK(error_of(client, "org.test.SeveralToOne").find("several replies to a call without more") !=
          std::string::npos);
    CHECK(call(client, "org.test.Echo") == json::object());
}

TEST_CASE("a request without an answer ends the connection, and nobody hangs") {
    ServerThread plain;  // says nothing about failures
    for (const char* method : {"org.test.Drop", "org.test.Fail", "org.test.FailOddly"}) {
        CAPTURE(std::string(method));
        Client client = plain.client();
        CHECK_THROWS_AS(call(client, method), Disconnected);
        CHECK_THROWS_AS(call(client, "org.test.Echo"), Disconnected);
    }
    CHECK(plain.has_clients(0));
}

TEST_CASE("a handler that keeps its request and then throws can still answer") {
    ServerThread server(named_options());
    RawClient client(server.socket());
    client.call(Call{"org.test.KeepAndFail"});
    CHECK(server.becomes([&] { return server.held.size() == 1; }));
    server.run([&] { server.held.front().reply({{"late", true}}); });
    CHECK(client.message() == R"({"parameters":{"late":true}})");
}

TEST_CASE("a stream of replies arrives whole and in order") {
    ServerThread server;
    Client client = server.client();
    for (const int count : {1, 2, 3000}) {
        const auto replies = replies_of(client, "org.test.Count", {{"count", count}});
        REQUIRE(replies.size() == static_cast<std::size_t>(count));
        for (int i = 0; i < count; ++i)
            CHECK(replies[static_cast<std::size_t>(i)] == json{{"number", i + 1}});
    }
    CHECK(replies_of(client, "org.test.Echo", {{"one", 1}}) == std::vector<json>{{{"one", 1}}});
    CHECK_THROWS_AS(replies_of(client, "org.test.Refuse"), RemoteError);
    CHECK(call(client, "org.test.Echo") == json::object());
}

TEST_CASE("an exception of the one who takes the replies closes the connection") {
    ServerThread server;
    Client client = server.client();
    const auto refuse = [](const json&) { throw std::logic_error("enough"); };
    CHECK_THROWS_WITH_AS(client.call_more("org.test.Count", {{"count", 3}}, kPatience, refuse), "enough",
                         std::logic_error);
    CHECK_THROWS_AS(call(client, "org.test.Echo"), Disconnected);
    CHECK(server.has_clients(0));
}

TEST_CASE("a late answer reaches its caller, and other clients do not wait for it") {
    ServerThread server;
    RawClient waiting(server.socket());
    waiting.call(Call{"org.test.Later", json::object(), true, false});
    CHECK(server.becomes([&] { return server.held.size() == 1; }));
    Client other = server.client();
    CHECK(call(other, "org.test.Echo") == json::object());
    server.run([&] {
        Request& request = server.held.front();
        CHECK(request.open());
        CHECK(request.call().more);
        CHECK(request.peer().uid == ::getuid());
        CHECK(request.peer().pid == ::getpid());
        request.reply_continues({{"n", 1}});
        request.reply({{"n", 2}});
        CHECK_FALSE(request.open());
        request.reply({{"n", 3}});  // goes nowhere
        request.error(permission_denied());
    });
    CHECK(waiting.message() == R"({"continues":true,"parameters":{"n":1}})");
    CHECK(waiting.message() == R"({"parameters":{"n":2}})");
    waiting.call(Call{"org.test.Echo"});
    CHECK(waiting.message() == R"({"parameters":{}})");
    server.run([&] { server.held.clear(); });  // dropped after its answer: harmless
    waiting.call(Call{"org.test.Echo"});
    CHECK(waiting.message() == R"({"parameters":{}})");
    CHECK(server.gone == 0);
}

TEST_CASE("a held request that is replaced or dropped disconnects its client") {
    ServerThread server;
    RawClient first(server.socket());
    first.call(Call{"org.test.Later"});
    CHECK(server.becomes([&] { return server.held.size() == 1; }));
    RawClient second(server.socket());
    second.call(Call{"org.test.Later"});
    CHECK(server.becomes([&] { return server.held.size() == 2; }));
    server.run([&] { server.held[0] = std::move(server.held[1]); });
    CHECK(first.closed_by_server());
    server.run([&] { server.held.clear(); });
    CHECK(second.closed_by_server());
    CHECK(server.has_clients(0));
    CHECK(server.gone == 0);
}

TEST_CASE("pipelined calls are answered in order, and oneway calls not at all") {
    ServerThread server;
    RawClient client(server.socket());
    std::string calls;
    for (int i = 0; i < 500; ++i) {
        calls += frame_message(Call{"org.test.Note", json::object(), false, true});
        calls += frame_message(Call{"org.test.Echo", {{"n", i}}});
        calls +=
            frame_message(Call{"org.test.Nothing", json::object(), false, true});  // its error is not sent
    }
    std::thread sender([&] { client.send(calls); });
    for (int i = 0; i < 500; ++i) CHECK(json::parse(client.message()) == json{{"parameters", {{"n", i}}}});
    sender.join();
    CHECK(server.noted == 500);
}

TEST_CASE("oneway calls are done even when their client goes at once") {
    ServerThread server;
    {
        RawClient client(server.socket());
        for (int i = 0; i < 100; ++i) client.call(Call{"org.test.Note", json::object(), false, true});
    }
    CHECK(server.becomes([&] { return server.noted == 100; }));
    CHECK(server.has_clients(0));
}

TEST_CASE("a kept oneway request goes nowhere") {
    ServerThread server;
    RawClient client(server.socket());
    client.call(Call{"org.test.Later", json::object(), false, true});
    CHECK(server.becomes([&] { return server.held.size() == 1; }));
    server.run([&] {
        CHECK_FALSE(server.held[0].open());
        server.held[0].reply();
        server.held.clear();
    });
    client.call(Call{"org.test.Echo"});
    CHECK(client.message() == R"({"parameters":{}})");
}

TEST_CASE("a client that only ends its sending gets its answers") {
    ServerThread server;
    RawClient client(server.socket());
    client.call(Call{"org.test.Echo", {{"n", 1}}});
    client.call(Call{"org.test.Later"});
    client.call(Call{"org.test.Echo", {{"n", 3}}});
    client.end_sending();
    CHECK(client.message() == R"({"parameters":{"n":1}})");
    CHECK(server.becomes([&] { return server.held.size() == 1; }));
    server.run([&] { server.held[0].reply({{"n", 2}}); });
    CHECK(client.message() == R"({"parameters":{"n":2}})");
    CHECK(client.message() == R"({"parameters":{"n":3}})");
    CHECK(client.closed_by_server());
    CHECK(server.has_clients(0));
}

TEST_CASE("a client that goes while its answer is pending is noticed once") {
    ServerThread server;
    RawClient client(server.socket());
    client.call(Call{"org.test.Later"});
    CHECK(server.becomes([&] { return server.held.size() == 1; }));
    client.close();
    CHECK(server.becomes([&] { return server.gone == 1; }));
    server.run([&] {
        CHECK_FALSE(server.held[0].open());
        server.held[0].reply();
        server.held.clear();
    });
    CHECK(server.has_clients(0));
    CHECK(server.gone == 1);
}

TEST_CASE("whoever is told that a client is gone may destroy the request, and others") {
    ServerThread server;
    RawClient first(server.socket());
    first.call(Call{"org.test.Later"});
    CHECK(server.becomes([&] { return server.held.size() == 1; }));
    RawClient second(server.socket());
    second.call(Call{"org.test.Later"});
    CHECK(server.becomes([&] { return server.held.size() == 2; }));
    server.run([&] { server.held[0].when_gone([&] { server.held.clear(); }); });
    first.close();
    CHECK(second.closed_by_server());
    CHECK(server.has_clients(0));
}

TEST_CASE("requests outlive their server") {
    std::vector<Request> kept;
    std::optional<RawClient> client;  // stays connected until the end
    bool told = false;
    {
        ServerThread server;
        client.emplace(server.socket());
        client->call(Call{"org.test.Later", json::object(), true, false});
        CHECK(server.becomes([&] { return server.held.size() == 1; }));
        server.run([&] {
            kept = std::move(server.held);
            kept[0].when_gone([&told] { told = true; });
        });
    }
    CHECK_FALSE(kept[0].open());
    kept[0].reply_continues({});
    kept.clear();
    CHECK_FALSE(told);
}

TEST_CASE("the client tells apart why there is no answer") {
    const TemporaryDirectory directory;
    CHECK_THROWS_AS(Client(directory.entry("nothing"), kPatience), Unreachable);
    CHECK_THROWS_WITH_AS(Client(std::string(108, 'x'), kPatience),
                         doctest::Contains("has 1 to 107 bytes, this one has 108"), vmad::base::Error);
    { static_cast<void>(listen_at(directory.entry("dead"), 0600)); }
    CHECK_THROWS_AS(Client(directory.entry("dead"), kPatience), Unreachable);
    std::ofstream(directory.entry("file")) << "x";
    CHECK_THROWS_AS(Client(directory.entry("file") + "/socket", kPatience), vmad::base::SystemError);

    ServerThread server;
    Client client = server.client();
    CHECK_THROWS_AS(client.call("org.test.Later", {}, std::chrono::milliseconds(20)), TimedOut);
    CHECK_THROWS_AS(call(client, "org.test.Echo"),
                    Disconnected);  // the late answer must not be taken for this
    CHECK(server.becomes([&] { return server.gone == 1; }));
}

TEST_CASE("connecting to a server that accepts nobody times out") {
    const TemporaryDirectory directory;
    const auto listening = listen_at(directory.entry("socket"), 0600);
    REQUIRE(::listen(listening.get(), 0) == 0);
    const Client first(directory.entry("socket"), kPatience);
    CHECK_THROWS_AS(Client(directory.entry("socket"), std::chrono::milliseconds(20)), TimedOut);
}

TEST_CASE("listening has the asked mode, replaces what a dead process left, and nothing else") {
    const TemporaryDirectory directory;
    const std::string path = directory.entry("socket");
    const auto mode = [&] {
        struct stat found {};
        REQUIRE(::stat(path.c_str(), &found) == 0);
        return found.st_mode & 07777;
    };
    { static_cast<void>(listen_at(path, 0666)); }
    CHECK(mode() == 0666);
    {
        const auto alive = listen_at(path, 0600);
        CHECK(mode() == 0600);
        CHECK_THROWS_WITH_AS(static_cast<void>(listen_at(path, 0600)),
                             ("another process listens at " + path).c_str(), vmad::base::Error);
        REQUIRE(::listen(alive.get(), 0) == 0);
        // The look at whether it is alive fills the backlog.
        CHECK_THROWS_WITH_AS(static_cast<void>(listen_at(path, 0600)),
                             ("another process listens at " + path).c_str(), vmad::base::Error);
    }
    const std::string file = directory.entry("file");
    std::ofstream(file) << "precious";
    CHECK_THROWS_WITH_AS(static_cast<void>(listen_at(file, 0600)),
                         (file + " is there already and not a socket").c_str(), vmad::base::Error);
    CHECK(std::filesystem::file_size(file) == 8);
    REQUIRE(::symlink(path.c_str(), directory.entry("link").c_str()) == 0);
    CHECK_THROWS_AS(static_cast<void>(listen_at(directory.entry("link"), 0600)), vmad::base::Error);
    CHECK_THROWS_AS(static_cast<void>(listen_at(directory.entry("no/dir"), 0600)), vmad::base::SystemError);
}
