#include "varlink/allowance.hpp"

#include <random>

#include <doctest/doctest.h>

using namespace vmad::varlink;
using namespace std::chrono_literals;

namespace {

/// A client, and the time on its side.
struct Subject {
    Allowance allowance;
    Allowance::Clock::time_point now = Allowance::Clock::now() + 1s;

    void work(std::chrono::microseconds time) {
        allowance.spend(now, now + time);
        now += time;
    }
};

}  // namespace

TEST_CASE("law: who stays within the allowance in every second never exceeds it") {
    std::mt19937 random(1);
    for (int round = 0; round < 100; ++round) {
        Subject client;
        for (int turn = 0; turn < 300; ++turn) {
            const std::chrono::microseconds time(random() % 2000);
            client.work(time);
            CHECK_FALSE(client.allowance.exceeded());
            client.now += time * (1s / kAllowance);
        }
    }
}

TEST_CASE("law: who goes on with more than the allowance is found out, and stays so until it is quiet") {
    std::mt19937 random(2);
    for (int round = 0; round < 100; ++round) {
        Subject client;
        const auto turns = 20 + random() % 2000;
        for (unsigned turn = 0; turn < turns; ++turn) {
            client.work(std::chrono::microseconds(500 + random() % 10'000));
            client.now += std::chrono::milliseconds(random() % 50);
        }
        CHECK(client.allowance.exceeded());
        client.now += kForgiveness;
        client.work(kAllowance);
        CHECK_FALSE(client.allowance.exceeded());
        client.work(1us);
        CHECK(client.allowance.exceeded());
    }
}

TEST_CASE("a single long piece of work is held against a client, but not for ever") {
    Subject client;
    client.work(60s);
    CHECK(client.allowance.exceeded());
    client.work(0us);
    CHECK(client.allowance.exceeded());
    client.now += kForgiveness;
    client.work(0us);
    CHECK_FALSE(client.allowance.exceeded());
}
