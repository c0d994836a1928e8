#include "canon/digest.hpp"

#include <doctest/doctest.h>

#include "support/dump.hpp"
#include "support/reference.hpp"
#include "vma/extent.hpp"
#include "vma/header.hpp"

using namespace vmad;

namespace {

/// The digest, with extents dealt out to `parts` sums that are merged at the end.
std::string digest_of(const testing::Bytes& archive, std::size_t parts) {
    const std::span<const std::byte> bytes(archive);
    const auto header =
        vma::parse_header(bytes.first(vma::parse_header_size(bytes.first<vma::kFixedHeaderSize>())));
    std::vector<canon::ContentSum> sums(parts, canon::ContentSum(header));
    std::size_t number = 0;
    for (std::size_t offset = header.size_bytes; offset < bytes.size(); ++number) {
        const auto raw = bytes.subspan(offset).first<vma::kExtentHeaderSize>();
        const auto extent = vma::parse_extent_header(raw, header.uuid, offset);
        sums[number % parts].add(extent, raw.data() + raw.size());
        offset += raw.size() + extent.payload_bytes();
    }
    for (std::size_t i = 1; i < parts; ++i) sums[0].merge(sums[i]);
    return sums[0].finish().to_hex();
}

}  // namespace

TEST_CASE("the digest is the reference's, for every order of a dump, and of its canonical form") {
    for (std::uint64_t seed = 0; seed < 50; ++seed) {
        CAPTURE(seed);
        const auto guest = testing::random_guest(seed);
        const auto plain = testing::dump(guest);
        const auto digest = digest_of(plain, 1);
        CHECK(digest == testing::content_digest(plain));
        CHECK(digest == digest_of(testing::dump(guest, testing::random_dump_options(seed)), 3));
        CHECK(digest == digest_of(testing::reference_repack(plain), 2));
    }
}

TEST_CASE("the digest changes with any content: a block, a size, a name, a config") {
    auto guest = testing::random_guest(7);
    while (guest.disks.empty() || guest.configs.empty())
        guest = testing::random_guest(guest.disks.size() + 100);
    const auto digest = digest_of(testing::dump(guest), 1);
    auto other = guest;
    other.disks[0].content.patches[0] = testing::to_bytes("another first block");
    CHECK(digest_of(testing::dump(other), 1) != digest);
    other = guest;
    other.disks[0].size_bytes += 512;
    CHECK(digest_of(testing::dump(other), 1) != digest);
    other = guest;
    other.disks[0].name += "x";
    CHECK(digest_of(testing::dump(other), 1) != digest);
    other = guest;
    other.configs[0].data.push_back(std::byte{'\n'});
    CHECK(digest_of(testing::dump(other), 1) != digest);
}
