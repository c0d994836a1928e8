#include "publish/inode_lock.hpp"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include "base/error.hpp"
#include "support/fault_file_system.hpp"
#include "support/temporary_directory.hpp"

using namespace vmad;
using namespace vmad::io;
using namespace vmad::publish;
using vmad::support::FaultFileSystem;
using vmad::support::TemporaryDirectory;

namespace {

FileIdentity file(std::uint64_t device, std::uint64_t inode) { return {device, {inode, 0, 0}, 0}; }

}  // namespace

TEST_CASE("one holds the lock of a file, and it is gone when he lets go") {
    const TemporaryDirectory state;
    FileSystem fs;
    {
        const auto first = InodeLock::take(fs, state / "locks", file(0x801, 7));
        REQUIRE(first);
        CHECK_FALSE(InodeLock::take(fs, state / "locks", file(0x801, 7)));
        CHECK(InodeLock::take(fs, state / "locks", file(0x801, 8)));
        CHECK(InodeLock::take(fs, state / "locks", file(0x802, 7)));
        CHECK(state.has("locks/801-7"));
    }
    CHECK(std::filesystem::is_empty(state / "locks"));
    CHECK(InodeLock::take(fs, state / "locks", file(0x801, 7)));
}

TEST_CASE("the size and times of the file do not matter") {
    const TemporaryDirectory state;
    FileSystem fs;
    const auto first = InodeLock::take(fs, state / "locks", {1, {7, 100, 5}, 6});
    CHECK_FALSE(InodeLock::take(fs, state / "locks", {1, {7, 200, 6}, 7}));
}

TEST_CASE("the directory of locks is private") {
    const TemporaryDirectory state;
    FileSystem fs;
    const auto lock = InodeLock::take(fs, state / "locks", file(1, 1));
    struct stat status {};
    REQUIRE(::stat((state / "locks").c_str(), &status) == 0);
    CHECK((status.st_mode & 07777) == 0700);
}

TEST_CASE("a lock can be moved, and is let go once") {
    const TemporaryDirectory state;
    FileSystem fs;
    auto first = InodeLock::take(fs, state / "locks", file(1, 1));
    {
        const InodeLock second(std::move(*first));
        first.reset();
        CHECK_FALSE(InodeLock::take(fs, state / "locks", file(1, 1)));
    }
    CHECK(InodeLock::take(fs, state / "locks", file(1, 1)));
}

TEST_CASE("a process that dies lets go, and what it leaves does no harm") {
    const TemporaryDirectory state;
    FileSystem fs;
    const pid_t child = ::fork();
    if (child == 0) {
        const auto lock = InodeLock::take(fs, state / "locks", file(1, 1));
        ::_exit(lock ? 0 : 1);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(status == 0);
    CHECK(state.has("locks/1-1"));
    CHECK(InodeLock::take(fs, state / "locks", file(1, 1)));
    CHECK(std::filesystem::is_empty(state / "locks"));
}

TEST_CASE("a lock on a file that the last holder has removed is not taken for the lock") {
    const TemporaryDirectory state;
    FileSystem plain;
    auto last = InodeLock::take(plain, state / "locks", file(1, 1));
    std::optional<InodeLock> thief;
    FaultFileSystem fs;
    fs.before = [&](const vmad::support::Call& call) {
        if (call.operation != "try_lock" || !last) return;
        // Between our open and our lock: the last holder lets go, and another one comes first.
        last.reset();
        auto next = InodeLock::take(plain, state / "locks", file(1, 1));
        if (next) thief.emplace(std::move(*next));
    };
    CHECK_FALSE(InodeLock::take(fs, state / "locks", file(1, 1)));
    CHECK(thief);
    thief.reset();
    CHECK(InodeLock::take(fs, state / "locks", file(1, 1)));
}

TEST_CASE("where a lock file is never found again there is no lock, but an end") {
    struct Hiding final : FileSystem {
        std::optional<struct stat> status_at(const File&, const std::string&) override {
            return std::nullopt;
        }
    } fs;
    const TemporaryDirectory state(TemporaryDirectory::fast_base());
    CHECK_THROWS_WITH_AS(
        (void)InodeLock::take(fs, state / "locks", file(1, 1)),
        ("cannot lock " + (state / "locks/1-1") + ": it is gone, or another file, each time").c_str(),
        vmad::base::Error);
}

TEST_CASE("a link in the place of a lock file is not followed") {
    const TemporaryDirectory state;
    FileSystem fs;
    std::filesystem::create_directory(state / "locks");
    std::filesystem::create_symlink(state / "elsewhere", state / "locks/1-1");
    CHECK_THROWS_AS((void)InodeLock::take(fs, state / "locks", file(1, 1)), vmad::base::SystemError);
    CHECK_FALSE(state.has("elsewhere"));
}

TEST_CASE("never do two threads hold the lock at once") {
    const TemporaryDirectory state(TemporaryDirectory::fast_base());
    FileSystem fs;
    std::atomic<int> holders = 0;
    std::atomic<int> most = 0;
    std::atomic<int> taken = 0;
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i)
        threads.emplace_back([&] {
            for (int k = 0; k < 500; ++k) {
                const auto lock = InodeLock::take(fs, state / "locks", file(1, 1));
                if (!lock) continue;
                const int now = ++holders;
                if (now > most) most = now;
                ++taken;
                --holders;
            }
        });
    for (auto& thread : threads) thread.join();
    CHECK(most == 1);
    CHECK(taken > 0);
    CHECK(std::filesystem::is_empty(state / "locks"));
}
