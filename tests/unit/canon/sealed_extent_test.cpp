#include "canon/sealed_extent.hpp"

#include <algorithm>

#include <doctest/doctest.h>

#include "canon/canonical_rules.hpp"
#include "vma/extent.hpp"

using namespace vmad;
using namespace vmad::canon;

namespace {

std::vector<std::byte> joined(SealedExtent& sealed) {
    std::vector<std::byte> bytes;
    for (const auto& slice : sealed.slices()) {
        const auto* begin = static_cast<const std::byte*>(slice.iov_base);
        bytes.insert(bytes.end(), begin, begin + slice.iov_len);
    }
    return bytes;
}

bool accepted(const std::vector<std::byte>& bytes, const ExtentPlan& plan) {
    std::array<std::byte, vma::kExtentHeaderSize> raw;
    std::copy_n(bytes.begin(), raw.size(), raw.begin());
    const auto header = vma::parse_extent_header(raw, kCanonicalUuid, 0);
    return is_canonical_extent(raw, header, plan) &&
           has_canonical_blocks(header, plan, bytes.data() + raw.size());
}

}  // namespace

TEST_CASE("a block is zero when no byte of it differs, wherever that byte is") {
    std::vector<std::byte> block(vma::kBlockSize);
    CHECK(is_zero_block(block.data()));
    for (std::size_t at = 0; at < block.size(); ++at) {
        block[at] = std::byte{1};
        CHECK_FALSE(is_zero_block(block.data()));
        block[at] = std::byte{0};
    }
}

TEST_CASE("zero blocks, blocks past the end and the tail of a cut block are left out") {
    // One cluster of a device that ends 512 bytes into its second block.
    const ExtentPlan plan{5, vma::kBlockSize + 512, 0, 1};
    std::vector<std::byte> blocks(4 * vma::kBlockSize, std::byte{7});
    std::fill_n(blocks.begin(), vma::kBlockSize, std::byte{0});
    const StoredCluster cluster{0b1111, blocks.data()};
    SealedExtent sealed(plan, {&cluster, 1});
    const auto bytes = joined(sealed);
    CHECK(bytes.size() == sealed.size_bytes());
    REQUIRE(bytes.size() == vma::kExtentHeaderSize + vma::kBlockSize);
    CHECK(accepted(bytes, plan));
    CHECK(std::count(bytes.begin() + vma::kExtentHeaderSize, bytes.end(), std::byte{7}) == 512);
}

TEST_CASE("the rules refuse what the sealing leaves out") {
    const ExtentPlan plan{5, vma::kBlockSize + 512, 0, 1};
    const auto with_blocks = [&](std::uint16_t mask, std::vector<std::byte> blocks) {
        std::array<vma::BlockInfo, vma::kSlotsPerExtent> slots{};
        slots[0] = {mask, 5, 0};
        const auto header = vma::encode_extent_header(slots, kCanonicalUuid);
        std::vector<std::byte> bytes(header.begin(), header.end());
        bytes.insert(bytes.end(), blocks.begin(), blocks.end());
        return bytes;
    };
    std::vector<std::byte> block(vma::kBlockSize);
    CHECK_FALSE(accepted(with_blocks(0b01, block), plan));  // all zero
    block[0] = std::byte{1};
    CHECK(accepted(with_blocks(0b01, block), plan));
    CHECK(accepted(with_blocks(0b10, block), plan));
    CHECK_FALSE(accepted(with_blocks(0b100, block), plan));  // past the end
    block[512] = std::byte{1};
    CHECK_FALSE(accepted(with_blocks(0b10, block), plan));  // dirty tail
}

TEST_CASE("a full extent of separate blocks needs no more slices than a gathering write takes") {
    const ExtentPlan plan{1, vma::kMaxDeviceSize, 0, kClustersPerRegion};
    std::vector<std::byte> blocks(16 * vma::kBlockSize, std::byte{1});
    // Every other block zero, so that no two slices touch.
    for (std::size_t n = 0; n < 16; n += 2)
        std::fill_n(blocks.begin() + static_cast<std::ptrdiff_t>(n * vma::kBlockSize), vma::kBlockSize,
                    std::byte{0});
    const std::vector<StoredCluster> clusters(kClustersPerRegion, {0xffff, blocks.data()});
    SealedExtent sealed(plan, clusters);
    CHECK(sealed.slices().size() == 1 + 32 * 8);
    CHECK(accepted(joined(sealed), plan));
}
