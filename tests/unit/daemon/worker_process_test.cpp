// The daemon's end of a worker: this program itself, started as "vmad worker", plays one that says something,
// and dies then or never ends.
#include "daemon/worker_process.hpp"

#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <string_view>

#include <doctest/doctest.h>

#include "log_capture.hpp"

using namespace vmad;

namespace {

constexpr const char* kSpeaksOn = "VMAD_TEST_SPEAKS_ON";
constexpr const char* kSays = "VMAD_TEST_SAYS";  ///< and dies; without it, something, and stays

std::atomic<bool> pipes_are_broken = false;

bool is_pipe(int fd) {
    struct stat status {};
    return ::fstat(fd, &status) == 0 && S_ISFIFO(status.st_mode);
}

[[gnu::constructor]] void be_a_worker(int argc, char** argv, char**) {
    if (argc < 2 || std::string_view(argv[1]) != "worker") return;
    const char* fd = std::getenv(kSpeaksOn);
    const char* line = std::getenv(kSays);
    const std::string_view says = line != nullptr ? line : "something\n";
    (void)!::write(fd != nullptr ? std::atoi(fd) : STDERR_FILENO, says.data(), says.size());
    if (line != nullptr) ::raise(SIGKILL);
    for (;;) ::pause();
}

struct End {
    std::optional<std::string> how;
    std::optional<api::WorkerResult> result;
};

/// What becomes of a worker that speaks on this descriptor. `before` is called before the daemon hears it.
End run_worker(int fd, const std::function<void()>& before) {
    sigset_t child;
    sigset_t old;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    REQUIRE(::sigprocmask(SIG_BLOCK, &child, &old) == 0);
    ::setenv(kSpeaksOn, std::to_string(fd).c_str(), 1);
    const auto event = varlink::make_event();
    const auto rate = io::RateLimit::create();
    api::WorkerOrder order;
    order.job.id = 1;
    order.job.path = "/a";
    End end;
    {
        daemon::WorkerProcess worker(event.get(), order, rate,
                                     {.progress = [](const api::JobProgress&) {},
                                      .guest = [](const api::WorkerGuest&) {},
                                      .record = [](const api::WorkerRecord&) {},
                                      .said = [](const std::string&) {},
                                      .ended =
                                          [&](const auto& reported, const std::string& description) {
                                              end = {description, reported};
                                          }});
        before();
        // Bounded, should it hang.
        for (int i = 0; i < 600 && !end.how; ++i) REQUIRE(sd_event_run(event.get(), 100'000) >= 0);
    }
    ::unsetenv(kSpeaksOn);
    REQUIRE(::sigprocmask(SIG_SETMASK, &old, nullptr) == 0);
    return end;
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
    for (const int fd : {api::kWorkerEventFd, STDERR_FILENO}) {
        CAPTURE(fd);
        const auto end = run_worker(fd, [] { pipes_are_broken = true; });
        pipes_are_broken = false;
        CHECK(end.how.value_or("") == "signal 9");
        CHECK_FALSE(end.result);
        CHECK(log.take().at(0).find("read what the worker says: Input/output error") != std::string::npos);
    }
}

TEST_CASE("a worker that dies before it is answered has died, and nothing else has failed") {
    const auto ignored = std::signal(SIGPIPE, SIG_IGN);
    ::setenv(kSays, api::to_line(api::WorkerEvent(api::WorkerRecord{.recovery = "{}"})).c_str(), 1);
    const auto end = run_worker(api::kWorkerEventFd, [] {
        siginfo_t info{};
        REQUIRE(::waitid(P_ALL, 0, &info, WEXITED | WNOWAIT) == 0);
    });
    ::unsetenv(kSays);
    (void)std::signal(SIGPIPE, ignored);
    CHECK(end.how.value_or("") == "signal 9");
    CHECK_FALSE(end.result);
}
