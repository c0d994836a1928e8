#include "canon/canonical_rules.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "vma/extent.hpp"

namespace vmad::canon {
namespace {

bool all_zero(const std::byte* begin, const std::byte* end) {
    return std::all_of(begin, end, [](std::byte b) { return b == std::byte{0}; });
}

}  // namespace

bool is_canonical_header(const std::vector<std::byte>& raw_header, const Layout& layout) {
    return raw_header == layout.header();
}

bool is_canonical_extent(const std::array<std::byte, vma::kExtentHeaderSize>& raw_header,
                         const vma::ExtentHeader& header, const ExtentPlan& plan) {
    std::array<vma::BlockInfo, vma::kSlotsPerExtent> expected{};
    for (unsigned i = 0; i < plan.cluster_count; ++i)
        expected[i] = {header.slots[i].mask, plan.device_id, plan.first_cluster + i};
    return raw_header == vma::encode_extent_header(expected, kCanonicalUuid);
}

std::optional<std::size_t> canonical_extent_bytes(
    const std::array<std::byte, vma::kExtentHeaderSize>& raw_header, const ExtentPlan& plan) {
    try {
        const auto header = vma::parse_extent_header(raw_header, kCanonicalUuid, 0);
        if (!is_canonical_extent(raw_header, header, plan)) return std::nullopt;
        return raw_header.size() + header.payload_bytes();
    } catch (const base::FormatError&) {
        return std::nullopt;
    }
}

bool has_canonical_blocks(const vma::ExtentHeader& header, const ExtentPlan& plan, const std::byte* payload) {
    for (unsigned i = 0; i < plan.cluster_count; ++i) {
        const auto& slot = header.slots[i];
        for (unsigned n = 0; n < vma::kBlocksPerCluster; ++n) {
            if ((slot.mask >> n & 1) == 0) continue;
            const auto at = std::uint64_t{slot.cluster} * vma::kClusterSize + n * vma::kBlockSize;
            if (at >= plan.device_size_bytes) return false;
            const auto room = std::min<std::uint64_t>(plan.device_size_bytes - at, vma::kBlockSize);
            if (all_zero(payload, payload + room)) return false;
            if (!all_zero(payload + room, payload + vma::kBlockSize)) return false;
            payload += vma::kBlockSize;
        }
    }
    return true;
}

}  // namespace vmad::canon
