#include "base/threads.hpp"

#include <memory>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

using vmad::base::BoundedQueue;

TEST_CASE("items come out in order, across threads, though the queue holds one") {
    BoundedQueue<int> queue(1);
    std::thread writer([&] {
        for (int i = 0; i < 1000; ++i) (void)queue.push(i);
        queue.close();
    });
    std::vector<int> seen;
    while (auto item = queue.pop()) seen.push_back(*item);
    writer.join();
    REQUIRE(seen.size() == 1000);
    for (int i = 0; i < 1000; ++i) CHECK(seen[static_cast<std::size_t>(i)] == i);
}

TEST_CASE("close wakes a waiting push, which drops its item; what was queued is still popped") {
    BoundedQueue<std::shared_ptr<int>> queue(1);
    auto first = std::make_shared<int>(1);
    auto second = std::make_shared<int>(2);
    CHECK(queue.push(first));
    std::thread closer([&] { queue.close(); });
    CHECK_FALSE(queue.push(second));
    closer.join();
    CHECK(second.use_count() == 1);
    CHECK(queue.pop() == first);
    CHECK_FALSE(queue.pop().has_value());
}

TEST_CASE("abort drops what is queued and wakes a waiting pop") {
    BoundedQueue<std::shared_ptr<int>> queue(4);
    auto item = std::make_shared<int>(1);
    CHECK(queue.push(item));
    queue.abort();
    CHECK(item.use_count() == 1);
    CHECK_FALSE(queue.pop().has_value());
    CHECK_FALSE(queue.push(item));
}
