// Long replies in portions, and who is served before whom.
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "server_thread.hpp"

using namespace vmad::varlink;
using nlohmann::json;

namespace {

/// Room for some portions of a stream, but not for a stream.
ServerOptions little_room() {
    ServerOptions options;
    options.max_output_bytes = 64 * 1024;
    return options;
}

/// A client whose request the server holds.
RawClient held_client(ServerThread& server, bool more = true) {
    RawClient client(server.socket());
    client.call(Call{"org.test.Later", json::object(), more, false});
    CHECK(server.becomes([&] { return server.held.size() == 1; }));
    return client;
}

Call stream_of(int count) { return {"org.test.Stream", {{"count", count}}, true, false}; }

constexpr int kEndless = 1'000'000'000;

}  // namespace

TEST_CASE("law: a stream in portions of any number arrives whole and in order") {
    ServerThread server(little_room());
    for (const int count : {1, 99, 100, 101, 200, 20'000}) {
        CAPTURE(count);
        server.run([&] { server.portions = 0; });
        Client client = server.client();
        int seen = 0;
        client.call_more("org.test.Stream", {{"count", count}}, kPatience, [&](const json& reply) {
            CHECK(reply == json{{"number", ++seen}});
        });
        CHECK(seen == count);
        CHECK(server.becomes([&] { return server.streams == 0; }));
        CHECK(server.portions == (count + 99) / 100);
        CHECK(client.call("org.test.Echo", {{"a", 1}}, kPatience) == json{{"a", 1}});
    }
}

TEST_CASE("a client that stops reading a stream stops that stream only, and takes it up again") {
    ServerThread server(little_room());
    RawClient deaf(server.socket());
    deaf.call(stream_of(20'000));
    deaf.call(Call{"org.test.Echo"});
    int portions = 0;
    // It stands still when the socket is full: no other way shows than that it does for a while.
    CHECK(server.becomes([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        return std::exchange(portions, server.portions) == server.portions;
    }));
    CHECK(portions < 200);
    Client other = server.client();
    int seen = 0;
    other.call_more("org.test.Stream", {{"count", 20'000}}, kPatience, [&](const json&) { ++seen; });
    CHECK(seen == 20'000);
    for (int i = 1; i <= 20'000; ++i) CHECK(json::parse(deaf.message())["parameters"]["number"] == i);
    CHECK(deaf.message() == R"({"parameters":{}})");
    CHECK(server.becomes([&] { return server.streams == 0; }));
}

TEST_CASE("an endless stream is given up when its client goes, wherever it is") {
    ServerThread server(little_room());
    for (int round = 0; round < 30; ++round) {
        RawClient client(server.socket());
        client.call(stream_of(kEndless));
        for (int i = 0; i < 100 * round; ++i) CHECK_FALSE(client.message().empty());
        if (round % 3 == 0) client.end_sending();
        client.close();
        CHECK(server.has_clients(0));
        CHECK(server.becomes([&] { return server.streams == 0; }));
    }
    int portions = 0;
    server.run([&] { portions = server.portions; });
    server.run([&] { CHECK(portions == server.portions); });
}

TEST_CASE("an endless stream ends with its server") {
    ServerThread server(little_room());
    RawClient client(server.socket());
    client.call(stream_of(kEndless));
    CHECK_FALSE(client.message().empty());
}

TEST_CASE("it is called once for each asking, from a later turn, replies or not") {
    ServerThread server;
    RawClient client = held_client(server);
    int called = 0;
    const auto ask = [&] { server.held[0].when_drained([&] { ++called; }); };
    for (int i = 1; i <= 10; ++i) {
        server.run([&] {
            if (i % 2 == 0) server.held[0].reply_continues({{"n", i}});
            ask();
            ask();  // replaces the first
            CHECK(called == i - 1);
        });
        CHECK(server.becomes([&] { return called == i; }));
    }
    server.run([&] { server.held[0].reply_continues({{"n", 11}}); });
    for (int i = 2; i <= 10; i += 2) CHECK(json::parse(client.message())["parameters"] == json{{"n", i}});
    CHECK(json::parse(client.message())["parameters"] == json{{"n", 11}});
    CHECK(called == 10);
}

TEST_CASE("the last reply, and the client's going, drop it uncalled") {
    ServerThread server;
    bool called = false;
    const auto token = std::make_shared<int>();
    const auto ask = [&](Request& request) { request.when_drained([&called, token] { called = true; }); };
    {
        RawClient client = held_client(server, false);
        server.run([&] {
            ask(server.held[0]);
            CHECK(token.use_count() == 2);
            server.held[0].reply();
            CHECK(token.use_count() == 1);
            ask(server.held[0]);  // too late
            CHECK(token.use_count() == 1);
        });
        CHECK(client.message() == R"({"parameters":{}})");
        server.run([&] { server.held.clear(); });
    }
    {
        RawClient client = held_client(server);
        // What is sent but not read keeps it from being called before the client goes.
        server.run([&] {
            for (int i = 0; i < 15; ++i)
                server.held[0].reply_continues({{"text", std::string(1'000'000, 'x')}});
            ask(server.held[0]);
        });
        client.close();
        CHECK(server.becomes([&] { return server.gone == 1; }));
        server.run([&] {
            ask(server.held[0]);
            server.held.clear();
        });
    }
    {
        RawClient client = held_client(server);
        server.run([&] {
            ask(server.held[0]);
            server.held.clear();
        });
        CHECK(client.closed_by_server());
    }
    CHECK(server.has_clients(0));
    CHECK(server.gone == 1);
    CHECK_FALSE(called);
}

TEST_CASE("whoever throws there, or lets the request go, disconnects this client alone") {
    ServerThread server;
    Client bystander = server.client();
    {
        RawClient client = held_client(server);
        server.run([&] { server.held[0].when_drained([] { throw std::runtime_error("enough"); }); });
        CHECK(client.closed_by_server());
        CHECK(server.becomes([&] { return server.gone == 1; }));
        server.run([&] { server.held.clear(); });
    }
    {
        RawClient client = held_client(server);
        server.run([&] { server.held[0].when_drained([&] { server.held.clear(); }); });
        CHECK(client.closed_by_server());
    }
    {
        RawClient client = held_client(server);
        server.run([&] {
            const auto owner = std::make_shared<Request>(std::move(server.held[0]));
            server.held.clear();
            owner->when_drained([owner] { owner->reply_continues({{"n", 1}}); });
        });
        // The call was the owner's last use, so nobody is left to send the last reply.
        CHECK(client.closed_by_server());
    }
    CHECK(server.has_clients(1));
    CHECK(bystander.call("org.test.Echo", {}, kPatience) == json::object());
}

TEST_CASE("a long call is read and handled whole, and holds up nobody meanwhile") {
    ServerThread server;
    RawClient longish(server.socket());
    RawClient brief(server.socket());
    server.run([&] {
        longish.call(Call{"org.test.Record", {{"name", "long"}, {"padding", std::string(100'000, 'x')}}});
        brief.call(Call{"org.test.Record", {{"name", "brief"}}});
    });
    CHECK(longish.message() == R"({"parameters":{}})");
    CHECK(brief.message() == R"({"parameters":{}})");
    CHECK(server.recorded == std::vector<std::string>{"brief", "long"});
}
