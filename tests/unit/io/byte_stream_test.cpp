#include "io/byte_stream.hpp"

#include <doctest/doctest.h>

#include "support/memory_file.hpp"
#include "support/random.hpp"

using namespace vmad;
using testing::Bytes;
using testing::MemorySource;
using testing::Random;

TEST_CASE("a source that was begun reads as a whole") {
    Random random(1);
    for (int i = 0; i < 2000; ++i) {
        Bytes bytes(random.below(30));
        random.fill(bytes);
        const auto begun = static_cast<std::ptrdiff_t>(random.below(bytes.size() + 1));
        MemorySource rest(bytes, i % 2 == 0);
        Bytes prefix(static_cast<std::size_t>(begun));
        iovec first{prefix.data(), prefix.size()};
        REQUIRE(rest.read({&first, 1}) == prefix.size());

        io::PrefixedSource source(prefix, rest);
        CHECK(source.size_bytes() == rest.size_bytes());
        Bytes all;
        for (;;) {
            Bytes piece(random.below(12));
            const auto half = random.below(piece.size() + 1);
            iovec slices[] = {
                {nullptr, 0}, {piece.data(), half}, {nullptr, 0}, {piece.data() + half, piece.size() - half}};
            const auto count = source.read(slices);
            all.insert(all.end(), piece.begin(), piece.begin() + static_cast<std::ptrdiff_t>(count));
            if (count < piece.size()) break;
        }
        CHECK(all == bytes);
        CHECK(source.progress().done_bytes == bytes.size());
    }
}
