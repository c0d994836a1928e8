#include "access/shared_cache.hpp"

#include <atomic>
#include <set>

#include <doctest/doctest.h>

#include "support/random.hpp"

using namespace vmad;

namespace {

struct Sized {
    int key = 0;
    std::size_t bytes = 0;
    [[nodiscard]] std::size_t memory_bytes() const noexcept { return bytes; }
};

using Cache = access::SharedCache<int, Sized>;

constexpr std::size_t kBytes = 100000;
/// More than an entry takes beside its value.
constexpr std::size_t kEntry = 2000;

}  // namespace

TEST_CASE("who asks for what is being loaded waits for it: it is loaded once") {
    std::atomic<unsigned> loads = 0;
    std::promise<void> may_end;
    const auto ready = may_end.get_future().share();
    Cache cache(10 * kBytes, [&](int key) {
        ++loads;
        ready.wait();
        return Sized{key, kBytes};
    });
    std::vector<std::jthread> threads;
    std::atomic<unsigned> good = 0;
    for (unsigned i = 0; i < 8; ++i) threads.emplace_back([&] { good += cache.get(7)->key == 7 ? 1 : 0; });
    while (loads == 0) std::this_thread::yield();
    may_end.set_value();
    threads.clear();
    CHECK((loads == 1 && good == 8));
}

TEST_CASE("the longest unused goes first, and what is held stays") {
    std::vector<int> loads;
    Cache cache(3 * (kBytes + kEntry), [&](int key) {
        loads.push_back(key);
        return Sized{key, kBytes};
    });
    const auto held = cache.get(1);
    for (const int key : {2, 3, 1, 4, 1, 5}) CHECK(cache.get(key)->key == key);
    CHECK(loads == std::vector<int>{1, 2, 3, 4, 5});
    CHECK((cache.has(5) && cache.has(1) && cache.has(4) && !cache.has(2) && !cache.has(3)));
    for (const int key : {6, 7, 8}) CHECK(cache.get(key)->key == key);
    CHECK_FALSE(cache.has(1));
    CHECK(held->key == 1);
}

TEST_CASE("a failure goes to all who wait, is not tried again at once, and other exceptions are") {
    unsigned loads = 0;
    Cache cache(kBytes, [&](int key) -> Sized {
        ++loads;
        if (key == 0) throw base::Error("broken");
        throw std::bad_alloc();
    });
    for (unsigned i = 0; i < 100; ++i) CHECK_THROWS_WITH_AS((void)cache.get(0), "broken", base::Error);
    CHECK(loads == 1);
    for (unsigned i = 0; i < 3; ++i) CHECK_THROWS_AS((void)cache.get(1), std::bad_alloc);
    CHECK(loads == 4);
}

TEST_CASE("law: many threads get what they ask for, with failures between, and the limit holds") {
    Cache cache(5 * kBytes, [](int key) {
        if (key % 7 == 0) throw base::Error("broken");
        return Sized{key, static_cast<std::size_t>(key) * 1000};
    });
    std::atomic<unsigned> wrong = 0;
    std::vector<std::jthread> threads;
    for (unsigned i = 0; i < 4; ++i)
        threads.emplace_back([&, i] {
            testing::Random random(i);
            for (unsigned round = 0; round < 5000; ++round) {
                const auto key = static_cast<int>(random.below(60));
                try {
                    wrong += cache.get(key)->key != key || key % 7 == 0 ? 1 : 0;
                } catch (const base::Error&) {
                    wrong += key % 7 == 0 ? 0 : 1;
                }
                wrong += cache.memory_bytes() > 5 * kBytes ? 1 : 0;
            }
        });
    threads.clear();
    CHECK(wrong == 0);
}

TEST_CASE("a background loader works on what waits, drops the oldest of too many, and ends with its work") {
    std::mutex mutex;
    std::set<int> done;
    std::promise<void> may_go_on;
    const auto ready = may_go_on.get_future().share();
    std::atomic<bool> started = false;
    {
        access::BackgroundLoader<int> loader(1, [&](int key) {
            started = true;
            ready.wait();
            const std::lock_guard lock(mutex);
            done.insert(key);
        });
        loader.ask_for(0);
        while (!started) std::this_thread::yield();
        for (const int key : {1, 2, 3, 4}) loader.ask_for(key);
        may_go_on.set_value();
        for (bool ended = false; !ended; std::this_thread::yield()) {
            const std::lock_guard lock(mutex);
            ended = done.contains(4);
        }
    }
    CHECK(done == std::set<int>{0, 4});
    {
        access::BackgroundLoader<int> unused(4, [](int) {});
    }
}
