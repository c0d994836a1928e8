#include "canon/canonical_rules.hpp"

#include <algorithm>

#include "base/integers.hpp"
#include "vma/extent.hpp"

namespace vmad::canon {
namespace {

using RawExtentHeader = std::array<std::byte, vma::kExtentHeaderSize>;

bool all_zero(const std::byte* begin, const std::byte* end) {
    return std::all_of(begin, end, [](std::byte b) { return b == std::byte{0}; });
}

/// The header that `plan` asks for, with these masks.
template <typename MaskOf>
RawExtentHeader expected_header(const ExtentPlan& plan, const MaskOf& mask_of) {
    std::array<vma::BlockInfo, vma::kSlotsPerExtent> slots{};
    for (unsigned i = 0; i < plan.cluster_count; ++i)
        slots[i] = {mask_of(i), plan.device_id, plan.first_cluster + i};
    return vma::encode_extent_header(slots, kCanonicalUuid);
}

}  // namespace

bool is_canonical_header(const std::vector<std::byte>& raw_header, const Layout& layout) {
    return raw_header == layout.header();
}

bool is_canonical_extent(const RawExtentHeader& raw_header, const vma::ExtentHeader& header,
                         const ExtentPlan& plan) {
    return raw_header == expected_header(plan, [&](unsigned slot) { return header.slots[slot].mask; });
}

std::optional<std::size_t> canonical_extent_bytes(const RawExtentHeader& raw_header, const ExtentPlan& plan) {
    // What is equal to a valid header, with a checksum of its own, needs no other check.
    std::size_t payload_bytes = 0;
    const auto expected = expected_header(plan, [&](unsigned slot) {
        const auto mask = base::load_be<std::uint16_t>(raw_header.data() + vma::slot_offset(slot));
        payload_bytes += vma::stored_bytes(mask);
        return mask;
    });
    if (raw_header != expected) return std::nullopt;
    return raw_header.size() + payload_bytes;
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
