#include <doctest/doctest.h>

#include "io/storage.hpp"

using namespace vmad::io;

namespace {

class Disk : public FileSystem {
  public:
    Disk(std::uint64_t blocks, std::uint64_t available) {
        space_.f_frsize = 4096;
        space_.f_bsize = 1 << 20;  // a hint for I/O, not the unit
        space_.f_blocks = blocks;
        space_.f_bfree = UINT64_MAX;  // root's share counts as taken
        space_.f_bavail = available;
    }
    struct statvfs space(const File&) override {
        return space_;
    }

  private:
    struct statvfs space_ {};
};

const File kDirectory{{}, "/mnt/dump"};
constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;

}  // namespace

TEST_CASE("the reserve is 5 % of a small file system and 1 GiB of a large one") {
    Disk small(1000, 0);
    CHECK(default_reserve(small, kDirectory) == 1000 * 4096 / 20);
    Disk large(kGiB, 0);
    CHECK(default_reserve(large, kDirectory) == kGiB);
    Disk absurd(UINT64_MAX, 0);
    CHECK(default_reserve(absurd, kDirectory) == kGiB);
    Disk silent(0, 0);
    CHECK(default_reserve(silent, kDirectory) == 0);
}

TEST_CASE("space is enough to the byte") {
    Disk disk(1000, 10);
    CHECK_NOTHROW(require_space(disk, kDirectory, 40960, 0));
    CHECK_NOTHROW(require_space(disk, kDirectory, 30960, 10000));
    CHECK_THROWS_WITH_AS(require_space(disk, kDirectory, 30961, 10000),
                         "too little space in /mnt/dump: 30 KiB are needed and 9.8 KiB kept free, 40 KiB are "
                         "available",
                         NoSpace);
    CHECK_THROWS_AS(require_space(disk, kDirectory, UINT64_MAX, UINT64_MAX), NoSpace);
}

TEST_CASE("a file system that tells no size has room") {
    Disk silent(0, 0);
    CHECK_NOTHROW(require_space(silent, kDirectory, UINT64_MAX, 1));
}
