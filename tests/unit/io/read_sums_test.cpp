#include "io/read_sums.hpp"

#include <doctest/doctest.h>

#include "support/memory_file.hpp"
#include "support/random.hpp"

using namespace vmad;
using io::ReadSums;

namespace {

constexpr std::uint64_t kBlock = std::uint64_t{1} << 20;

testing::Bytes content_of_size(std::size_t size) {
    testing::Random random(size);
    testing::Bytes bytes(size);
    for (auto& byte : bytes) byte = static_cast<std::byte>(random.below(256));
    return bytes;
}

/// Read in pieces of random sizes, each into two slices.
void read_all(const testing::Bytes& content, ReadSums& sums, std::uint64_t seed) {
    testing::Random random(seed);
    io::SummedSource source(std::make_unique<testing::MemorySource>(content), sums);
    testing::Bytes buffer(3 * kBlock);
    while (true) {
        const auto size = 1 + random.below(buffer.size());
        const auto first = random.below(size);
        iovec slices[] = {{buffer.data(), first}, {buffer.data() + first, size - first}};
        if (source.read(slices) < size) break;
    }
}

}  // namespace

TEST_CASE("equal readings agree however they are cut, and one that is wrong anywhere differs in that block") {
    for (const std::size_t size : {std::size_t{0}, std::size_t{1}, kBlock - 1, kBlock, 3 * kBlock + 17}) {
        CAPTURE(size);
        const auto content = content_of_size(size);
        ReadSums first(size);
        read_all(content, first, 1);
        for (std::uint64_t seed = 2; seed < 5; ++seed) {
            ReadSums again(size);
            read_all(content, again, seed);
            CHECK_FALSE(first.first_difference(again));
            // What was read before does not count.
            read_all(content, again, seed + 1);
            CHECK_FALSE(again.first_difference(first));
        }
        for (std::uint64_t at = 0; at < size; at += 300007) {
            CAPTURE(at);
            auto wrong = content;
            wrong[at] ^= std::byte{1};
            ReadSums again(size);
            read_all(wrong, again, 7);
            const auto begin = at / kBlock * kBlock;
            const ReadSums::Block expected{begin, std::min<std::uint64_t>(begin + kBlock, size)};
            CHECK(first.first_difference(again) == expected);
            CHECK(again.first_difference(first) == expected);
            ReadSums begun(size);
            begun.add(testing::View(wrong).first(std::min<std::uint64_t>(size, 2 * kBlock + 5)));
            const bool is_seen = expected.end <= std::min<std::uint64_t>(size / kBlock, 2) * kBlock;
            CHECK(first.first_difference_so_far(begun) == (is_seen ? std::optional(expected) : std::nullopt));
            CHECK(begun.first_difference_so_far(first) == first.first_difference_so_far(begun));
        }
    }
}

TEST_CASE("a reading that ends earlier differs where it ends") {
    const auto content = content_of_size(2 * kBlock + 5);
    ReadSums whole(content.size());
    read_all(content, whole, 1);
    for (const auto& [size, begin, end] :
         {std::array{2 * kBlock + 4, 2 * kBlock, 2 * kBlock + 5},
          std::array{2 * kBlock, 2 * kBlock, 2 * kBlock + 5}, std::array{kBlock, kBlock, 2 * kBlock},
          std::array{std::uint64_t{0}, std::uint64_t{0}, kBlock}}) {
        ReadSums part(content.size());
        read_all({content.begin(), content.begin() + static_cast<std::ptrdiff_t>(size)}, part, 2);
        CHECK(whole.first_difference(part) == ReadSums::Block{begin, end});
        CHECK(part.first_difference(whole) == ReadSums::Block{begin, end});
    }
}

TEST_CASE("of a large file there are few checksums of large blocks") {
    // 1 TiB: blocks of 32 MiB.
    constexpr std::uint64_t kSize = std::uint64_t{1} << 40;
    const testing::Bytes piece(40 * kBlock);
    auto other = piece;
    other[33 * kBlock] = std::byte{1};
    ReadSums first(kSize);
    ReadSums again(kSize);
    first.add(piece);
    again.add(other);
    CHECK(first.first_difference(again) == ReadSums::Block{32 * kBlock, 40 * kBlock});
}
