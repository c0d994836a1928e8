// What a process can still do once it is confined.

#include "guest/confinement.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <string>
#include <thread>

#include <doctest/doctest.h>

using namespace vmad;

namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kIsConfined = false;
#else
constexpr bool kIsConfined = true;
#endif

/// Whether it does, in a confined process.
bool works(const std::function<bool()>& action) {
    const auto child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        guest::confine();
        ::_exit(action() ? 0 : 1);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(WIFEXITED(status));
    return WEXITSTATUS(status) == 0;
}

bool has_child() {
    const auto child = ::fork();
    if (child == 0) ::_exit(0);
    return child > 0;
}

}  // namespace

TEST_CASE("a confined process has threads and memory") {
    CHECK(works([] {
        bool ran = false;
        std::thread([&] { ran = true; }).join();
        return ran && !std::string(std::size_t{100} << 20, 'x').empty();
    }));
    CHECK(works([] { return ::geteuid() != 0; }));
}

TEST_CASE("a confined process has no files, sockets, processes or signals for others" *
          doctest::skip(!kIsConfined)) {
    const auto parent = ::getpid();
    CHECK(!works([] { return ::open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0; }));
    CHECK(!works([] { return ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0; }));
    CHECK(!works(has_child));
    CHECK(!works([&] { return ::kill(parent, 0) == 0; }));
    CHECK(!works([&] { return ::tgkill(parent, parent, 0) == 0; }));
}
