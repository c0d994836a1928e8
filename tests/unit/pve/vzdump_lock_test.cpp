#include "pve/vzdump_lock.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include <doctest/doctest.h>

#include "base/path.hpp"
#include "support/temporary_directory.hpp"

namespace vmad::pve {
namespace {

constexpr LockedFile kFile{0xfd, 0x1a, 1234};

TEST_CASE("a flock on the file is found, held or waited for") {
    for (const char* line : {
             "1: FLOCK  ADVISORY  WRITE 4711 fd:1a:1234 0 EOF\n",
             "1: FLOCK  ADVISORY  READ  4711 fd:1a:1234 0 EOF\n",
             "1: FLOCK ADVISORY WRITE 4711 fd:1a:1234 0 EOF",
             "1: FLOCK  ADVISORY  WRITE -1 fd:1a:1234 0 EOF\n",
             "17: FLOCK  MSNFS     READ  4711 fd:1a:1234 0 EOF\n",
             "2: -> FLOCK  ADVISORY  WRITE 4711 fd:1a:1234 0 EOF\n",
             "2:  -> FLOCK  ADVISORY  WRITE 4711 fd:1a:1234 0 EOF\n",
             "1: POSIX  ADVISORY  READ  1 00:01:1 0 EOF\n2: FLOCK  ADVISORY  WRITE 4711 fd:1a:1234 0 EOF\n",
             "nonsense\n\n2: FLOCK  ADVISORY  WRITE 4711 FD:1A:1234 0 EOF\n",
         }) {
        CAPTURE(line);
        CHECK(has_flock(line, kFile));
    }
}

TEST_CASE("what is no flock on the file is not taken for one") {
    for (const char* line : {
             "",
             "\n",
             "1:",
             "1: FLOCK",
             "1: FLOCK  ADVISORY  WRITE 4711",
             "1: FLOCK  ADVISORY  WRITE 4711 \n",
             "1: POSIX  ADVISORY  WRITE 4711 fd:1a:1234 0 EOF\n",
             "1: OFDLCK ADVISORY  WRITE 4711 fd:1a:1234 0 EOF\n",
             "1: LEASE  ACTIVE    READ  4711 fd:1a:1234 0 EOF\n",
             "2: -> POSIX  ADVISORY  WRITE 4711 fd:1a:1234 0 EOF\n",
             "1: FLOCK  ADVISORY  WRITE 4711 fd:1a:12345 0 EOF\n",
             "1: FLOCK  ADVISORY  WRITE 4711 fd:1a:123 0 EOF\n",
             "1: FLOCK  ADVISORY  WRITE 4711 fd:1b:1234 0 EOF\n",
             "1: FLOCK  ADVISORY  WRITE 4711 fe:1a:1234 0 EOF\n",
             "1: FLOCK  ADVISORY  WRITE 4711 fd:26:1234 0 EOF\n",
             "1: FLOCK  ADVISORY  WRITE 4711 fd:1a:1234x 0 EOF\n",
             "1: FLOCK  ADVISORY  WRITE 4711 fd:1a:4d2 0 EOF\n",
             "1: FLOCK  ADVISORY  WRITE 4711 fd:1a 0 EOF\n",
             "1: FLOCK  ADVISORY  WRITE 4711 fd:1a: 0 EOF\n",
             "1: FLOCK  ADVISORY  WRITE 4711 :1a:1234 0 EOF\n",
             "1: FLOCK  ADVISORY  WRITE 4711 fd:1a:99999999999999999999999 0 EOF\n",
             "1: FLOCK  ADVISORY  WRITE 4711 <none>:0 0 EOF\n",
             "1: FLOCK  ADVISORY  WRITE fd:1a:1234 0 EOF\n",
         }) {
        CAPTURE(line);
        CHECK_FALSE(has_flock(line, kFile));
    }
}

/// Makes base::system_path() point into a directory of its own.
class Node {
  public:
    Node() {
        ::mkdir((directory_.path() + "/run").c_str(), 0755);
        ::setenv("VMAD_ROOT", directory_.path().c_str(), 1);
    }
    ~Node() { ::unsetenv("VMAD_ROOT"); }
    Node(const Node&) = delete;
    Node& operator=(const Node&) = delete;

    /// Opens the lock file, as vzdump does.
    [[nodiscard]] base::UniqueFd open_lock() const {
        return base::UniqueFd(
            ::open((directory_.path() + "/run/vzdump.lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
    }

  private:
    // In memory, as /run is: on an overlay, /proc/locks and stat(2) name devices of their own.
    support::TemporaryDirectory directory_{support::TemporaryDirectory::fast_base()};
};

TEST_CASE("vzdump runs as long as somebody holds its lock") {
    const Node node;
    io::FileSystem fs;
    CHECK_FALSE(vzdump_runs(fs));
    auto lock = node.open_lock();
    CHECK_FALSE(vzdump_runs(fs));
    for (const int mode : {LOCK_EX, LOCK_SH}) {
        REQUIRE(::flock(lock.get(), mode) == 0);
        CHECK(vzdump_runs(fs));
        REQUIRE(::flock(lock.get(), LOCK_UN) == 0);
        CHECK_FALSE(vzdump_runs(fs));
    }
    REQUIRE(::flock(lock.get(), LOCK_EX) == 0);
    lock.reset();
    CHECK_FALSE(vzdump_runs(fs));
}

TEST_CASE("a lock of another kind is not vzdump's") {
    const Node node;
    io::FileSystem fs;
    const auto lock = node.open_lock();
    struct flock whole {};
    whole.l_type = F_WRLCK;
    REQUIRE(::fcntl(lock.get(), F_OFD_SETLK, &whole) == 0);
    CHECK_FALSE(vzdump_runs(fs));
}

TEST_CASE("to look never gets in the way of a vzdump that does not wait") {
    const Node node;
    io::FileSystem fs;
    const auto lock = node.open_lock();
    CHECK_FALSE(vzdump_runs(fs));
    CHECK(::flock(lock.get(), LOCK_EX | LOCK_NB) == 0);
    CHECK(vzdump_runs(fs));
    // It is still held: by the same open file it could be taken again, by another it cannot.
    CHECK(::flock(node.open_lock().get(), LOCK_SH | LOCK_NB) != 0);
}

}  // namespace
}  // namespace vmad::pve
