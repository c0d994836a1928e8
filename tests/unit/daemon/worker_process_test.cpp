// The daemon's end of a worker: this program itself, started as "vmad worker", plays one that says something
// and never ends.
#include "daemon/worker_process.hpp"

#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <string_view>

#include <doctest/doctest.h>

#include "log_capture.hpp"

using namespace vmad;

namespace {

constexpr const char* kSpeaksOn = "VMAD_TEST_SPEAKS_ON";

std::atomic<bool> pipes_are_broken = false;

bool is_pipe(int fd) {
    struct stat status {};
    return ::fstat(fd, &status) == 0 && S_ISFIFO(status.st_mode);
}

[[gnu::constructor]] void be_a_worker(int argc, char** argv, char**) {
    if (argc < 2 || std::string_view(argv[1]) != "worker") return;
    const char* fd = std::getenv(kSpeaksOn);
    (void)!::write(fd != nullptr ? std::atoi(fd) : STDERR_FILENO, "something\n", 10);
    for (;;) ::pause();
}

}  // namespace

/// In place of the C library's: a kernel that fails to read a pipe cannot be had otherwise.
extern "C" ssize_t read(int fd, void* into, size_t size_bytes) {
    if (pipes_are_broken && is_pipe(fd)) {
        errno = EIO;
        return -1;
    }
    return ::syscall(SYS_read, fd, into, size_bytes);
}

TEST_CASE("a worker whose pipe cannot be read is ended, and that is a death") {
    daemon::LogCapture log;
    sigset_t child;
    sigset_t before;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    REQUIRE(::sigprocmask(SIG_BLOCK, &child, &before) == 0);
    for (const int fd : {api::kWorkerEventFd, STDERR_FILENO}) {
        CAPTURE(fd);
        ::setenv(kSpeaksOn, std::to_string(fd).c_str(), 1);
        const auto event = varlink::make_event();
        const auto rate = io::RateLimit::create();
        api::WorkerOrder order;
        order.job.id = 1;
        order.job.path = "/a";
        std::optional<std::string> how;
        std::optional<api::WorkerResult> result;
        daemon::WorkerProcess worker(event.get(), order, rate,
                                     {.progress = [](const api::JobProgress&) {},
                                      .guest = [](const api::WorkerGuest&) {},
                                      .record = [](const api::WorkerRecord&) {},
                                      .said = [](const std::string&) {},
                                      .ended =
                                          [&](const auto& reported, const std::string& description) {
                                              result = reported;
                                              how = description;
                                          }});
        pipes_are_broken = true;
        // Bounded, should it hang.
        for (int i = 0; i < 600 && !how; ++i) REQUIRE(sd_event_run(event.get(), 100'000) >= 0);
        pipes_are_broken = false;
        CHECK(how.value_or("") == "signal 9");
        CHECK_FALSE(result);
        CHECK(log.take().at(0).find("read what the worker says: Input/output error") != std::string::npos);
    }
    ::unsetenv(kSpeaksOn);
    REQUIRE(::sigprocmask(SIG_SETMASK, &before, nullptr) == 0);
}
