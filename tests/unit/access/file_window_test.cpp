#include "access/file_window.hpp"

#include <doctest/doctest.h>

#include "base/error.hpp"
#include "support/memory_file.hpp"
#include "support/random.hpp"

using namespace vmad;
using access::FileWindow;
using testing::Bytes;

namespace {

io::FileSystem& fs() {
    static io::FileSystem real;
    return real;
}

Bytes noise(std::size_t size) {
    Bytes bytes(size);
    testing::Random(size).fill(bytes);
    return bytes;
}

}  // namespace

// Under UndefinedBehaviorSanitizer: no bytes were once moved from a null pointer before the first read.
TEST_CASE("a window shows the bytes of its file, wherever it is moved to") {
    for (const std::size_t size : {0, 1, 4095, 4 << 20, (9 << 20) + 77}) {
        CAPTURE(size);
        const auto bytes = noise(size);
        const auto file = testing::memory_file(bytes);
        FileWindow window(fs(), file, [] {});
        CHECK(window.size() == size);
        testing::Random random(size);
        for (std::uint64_t at = 0; at <= size; at += 1 + random.below(2 << 20)) {
            window.skip_to(at);
            REQUIRE(window.offset() == at);
            const auto count = std::min<std::uint64_t>(random.below(5 << 20), size - at);
            const auto seen = window.peek(count);
            REQUIRE(seen.size() == count);
            REQUIRE(std::equal(seen.begin(), seen.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at)));
        }
        window.skip_to(size);
        CHECK(window.peek(1).empty());
        CHECK(window.unreadable_bytes() == 0);
    }
}

TEST_CASE("a file that becomes shorter while a window reads it is an error") {
    const auto file = testing::memory_file(noise(5 << 20));
    FileWindow window(fs(), file, [] {});
    REQUIRE(window.peek(1).size() == 1);
    REQUIRE(::ftruncate(file.fd(), 4 << 20) == 0);
    CHECK_THROWS_WITH_AS((void)window.peek(5 << 20), "archive: the file became shorter while it was read",
                         base::Error);
}
