#include "worker/daemon_link.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <csignal>

#include <doctest/doctest.h>

#include "base/error.hpp"

using namespace vmad;
using worker::DaemonGone;
using worker::DaemonLink;

namespace {

struct Pipe {
    base::UniqueFd read;
    base::UniqueFd write;
    Pipe() {
        int fds[2];
        REQUIRE(::pipe2(fds, O_CLOEXEC) == 0);
        read.reset(fds[0]);
        write.reset(fds[1]);
    }
    void put(std::string_view text) const {
        REQUIRE(::write(write.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
    }
    [[nodiscard]] std::string take() const {
        char bytes[4096];
        const auto count = ::read(read.get(), bytes, sizeof bytes);
        return {bytes, static_cast<std::size_t>(count)};
    }
};

}  // namespace

TEST_CASE("an order arrives, events leave, and a record waits for its confirmation") {
    Pipe orders;
    Pipe events;
    DaemonLink link(std::move(orders.read), std::move(events.write));
    api::WorkerOrder order;
    order.job.id = 7;
    order.job.path = "/a.vma";
    order.state_dir = "/state";
    orders.put(api::to_line(order));
    CHECK(link.receive_order() == order);
    orders.put(api::kRecordedLine);
    link.record({api::JobState::running, R"({"name":"a.vma"})"});
    const auto event = events.take();
    CHECK(std::get<api::WorkerRecord>(api::worker_event_from_line(event.substr(0, event.size() - 1)))
              .recovery == R"({"name":"a.vma"})");
}

TEST_CASE("without the daemon nothing goes on") {
    ::signal(SIGPIPE, SIG_IGN);
    Pipe orders;
    Pipe events;
    DaemonLink link(std::move(orders.read), std::move(events.write));
    SUBCASE("gone before the order") {
        orders.write.reset();
        CHECK_THROWS_AS((void)link.receive_order(), DaemonGone);
    }
    SUBCASE("gone before the confirmation") {
        orders.write.reset();
        CHECK_THROWS_AS(link.record({api::JobState::running, "{}"}), DaemonGone);
    }
    SUBCASE("another answer than the confirmation") {
        orders.put("\"no\"\n");
        CHECK_THROWS_AS(link.record({api::JobState::running, "{}"}), DaemonGone);
    }
    SUBCASE("gone when an event is sent") {
        events.read.reset();
        CHECK_THROWS_AS(link.send(api::JobProgress()), DaemonGone);
    }
}

TEST_CASE("a link that cannot be read or written is an error with its reason") {
    Pipe events;
    // A directory cannot be read, and what is open for reading not written.
    DaemonLink link(base::UniqueFd(::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC)), std::move(events.read));
    CHECK_THROWS_WITH_AS((void)link.receive_order(), "read the daemon's orders: Is a directory",
                         base::SystemError);
    CHECK_THROWS_WITH_AS(link.send(api::JobProgress()), "write events to the daemon: Bad file descriptor",
                         base::SystemError);
    CHECK(std::string(DaemonGone().what()) == "the daemon is gone or keeps no records");
}
