// Time is only ever compared from below: a limit may be slower than it says, never faster.
#include "io/rate_limit.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include "base/error.hpp"
#include "support/temporary_directory.hpp"

using namespace vmad::io;
using vmad::base::CancelFlag;
using vmad::base::UniqueFd;

namespace {

constexpr std::uint64_t kMiB = 1 << 20;
constexpr std::uint64_t kForEver = std::uint64_t{1} << 40;

using Seconds = std::chrono::duration<double>;

template <typename Work>
double seconds_for(Work work) {
    const auto begin = std::chrono::steady_clock::now();
    work();
    return Seconds(std::chrono::steady_clock::now() - begin).count();
}

/// So long it takes at least: a burst comes at once, and the last slice is not waited for.
double least_seconds(std::uint64_t bytes, std::uint64_t rate) {
    return static_cast<double>(bytes) / static_cast<double>(rate) - 0.2;
}

UniqueFd same(const RateLimit& limit) { return UniqueFd(::fcntl(limit.fd(), F_DUPFD_CLOEXEC, 0)); }

/// Lets a limit go after half a minute, in both ways that there are, so that a test that would wait for days
/// fails instead.
class Patience {
  public:
    Patience(RateLimit& limit, CancelFlag& cancel)
        : watch_([this, &limit, &cancel] {
              std::unique_lock lock(mutex_);
              if (ended_.wait_for(lock, std::chrono::seconds(30), [this] { return is_over_; })) return;
              limit.set_bytes_per_second(0);
              cancel.request();
              was_needed_ = true;
          }) {}
    Patience(const Patience&) = delete;
    Patience& operator=(const Patience&) = delete;
    /// Nobody waits any more.
    ~Patience() {
        {
            const std::lock_guard lock(mutex_);
            is_over_ = true;
        }
        ended_.notify_all();
        watch_.join();
        CHECK_FALSE(was_needed_);
    }

  private:
    std::mutex mutex_;
    std::condition_variable ended_;
    bool is_over_ = false;
    bool was_needed_ = false;
    std::thread watch_;
};

/// A process that takes bytes by itself, and ends with 0 when it has them.
template <typename Work>
pid_t run_beside(Work work) {
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        work();
        ::_exit(0);
    }
    return child;
}

int status_of(pid_t child) {
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    return status;
}

}  // namespace

TEST_CASE("without a limit, and once a stop is requested, nobody waits") {
    auto limit = RateLimit::create();
    CancelFlag watched;
    const Patience patience(limit, watched);
    CHECK(limit.bytes_per_second() == 0);
    limit.take(UINT64_MAX, watched);
    limit.set_bytes_per_second(1);
    limit.take(0, watched);
    CancelFlag stopped;
    stopped.request();
    limit.take(UINT64_MAX, stopped);
}

TEST_CASE("the fastest limit is none, and its numbers do not overflow") {
    auto limit = RateLimit::create();
    limit.set_bytes_per_second(UINT64_MAX);
    CancelFlag cancel;
    const Patience patience(limit, cancel);
    limit.take(kForEver, cancel);
}

TEST_CASE("threads and processes together get no more than the limit") {
    constexpr std::uint64_t kRate = 20 * kMiB;
    constexpr unsigned kTakers = 4;
    constexpr std::uint64_t kBytes = 2 * kMiB;
    const CancelFlag cancel;
    for (const std::uint64_t portion : {kBytes, std::uint64_t{4096}, std::uint64_t{12345}}) {
        CAPTURE(portion);
        auto limit = RateLimit::create();
        limit.set_bytes_per_second(kRate);
        const auto take_all = [&](const RateLimit& from) {
            for (std::uint64_t taken = 0; taken < kBytes; taken += portion) from.take(portion, cancel);
        };
        const auto elapsed = seconds_for([&] {
            std::vector<std::thread> threads;
            std::vector<pid_t> children;
            for (unsigned i = 0; i < kTakers; ++i)
                children.push_back(run_beside([&] { take_all(RateLimit::attach(same(limit))); }));
            for (unsigned i = 0; i < kTakers; ++i) threads.emplace_back([&] { take_all(limit); });
            for (auto& thread : threads) thread.join();
            for (const auto child : children) CHECK(status_of(child) == 0);
        });
        CHECK(elapsed >= least_seconds(2 * kTakers * kBytes, kRate));
    }
}

TEST_CASE("a stop, a higher limit and none at all reach those that wait already") {
    for (const int way : {0, 1, 2}) {
        CAPTURE(way);
        auto limit = RateLimit::create();
        limit.set_bytes_per_second(1);
        CancelFlag cancel;
        CancelFlag unused;
        // Of the two ways to let it go, one that is not being tested.
        const Patience patience(limit, way == 0 ? unused : cancel);
        std::thread waiting([&] { limit.take(kMiB, cancel); });
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        if (way == 0) cancel.request();
        if (way == 1) limit.set_bytes_per_second(1024 * kMiB);
        if (way == 2) limit.set_bytes_per_second(0);
        waiting.join();  // or the test would take 12 days
    }
}

TEST_CASE("a process that is killed while it waits holds nobody up") {
    auto limit = RateLimit::create();
    limit.set_bytes_per_second(kMiB);
    const auto child = run_beside([&] { RateLimit::attach(same(limit)).take(kForEver, {}); });
    limit.take(kMiB / 4, {});
    REQUIRE(::kill(child, SIGKILL) == 0);
    CHECK(WTERMSIG(status_of(child)) == SIGKILL);
    // Were all that it asked for laid aside, this would take 12 days as well.
    CancelFlag cancel;
    const Patience patience(limit, cancel);
    limit.take(kMiB / 4, cancel);
}

TEST_CASE("what is no limit of ours is not attached") {
    const auto refuses = [](int fd) {
        CHECK_THROWS_WITH_AS((void)RateLimit::attach(UniqueFd(fd)), "the daemon passed no rate limit",
                             vmad::base::Error);
    };
    refuses(-1);
    refuses(::open("/dev/zero", O_RDWR | O_CLOEXEC));
    refuses(::memfd_create("empty", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    const int unsealed = ::memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    CHECK(::ftruncate(unsealed, 16) == 0);
    refuses(unsealed);
    const int large = ::memfd_create("large", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    CHECK(::ftruncate(large, 4096) == 0);
    CHECK(::fcntl(large, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0);
    refuses(large);
    const auto limit = RateLimit::create();
    CHECK(::ftruncate(limit.fd(), 0) != 0);
}

TEST_CASE("the content that is read and written counts, and what was not there does not") {
    constexpr std::uint64_t kRate = kMiB;
    auto limit = RateLimit::create();
    const CancelFlag cancel;
    RateLimitedFileSystem fs(limit, cancel);
    const vmad::support::TemporaryDirectory directory(vmad::support::TemporaryDirectory::fast_base());
    const auto file = fs.open(directory / "file", O_RDWR | O_CREAT, 0600);
    std::string content(kMiB / 2, 'x');
    std::string back(content.size(), ' ');
    limit.set_bytes_per_second(kRate);
    const auto elapsed = seconds_for([&] {
        iovec vector{content.data(), content.size()};
        write_fully_at(fs, file, {&vector, 1}, 0);
        CHECK(read_fully_at(fs, file, std::as_writable_bytes(std::span(back)), 0) == back.size());
    });
    CHECK(elapsed >= least_seconds(2 * content.size(), kRate));
    CHECK(back == content);
    const auto queue_seconds = seconds_for([&] {
        const auto reads = fs.read_queue(file, 2);
        for (int i = 0; i < 2; ++i) reads->start(std::as_writable_bytes(std::span(back)), 0);
        for (int i = 0; i < 2; ++i) CHECK(reads->finish() == back.size());
    });
    CHECK(queue_seconds >= least_seconds(2 * content.size(), kRate));

    limit.set_bytes_per_second(1);
    const iovec vector{back.data(), back.size()};
    for (int i = 0; i < 100; ++i) CHECK(fs.read_at(file, {&vector, 1}, content.size()) == 0);
    (void)fs.entries(fs.open(directory.path(), O_RDONLY | O_DIRECTORY));
    fs.sync(file);
}
