// Makes a canonical extent out of the clusters that belong into it. Pure; any thread.
#pragma once

#include <sys/uio.h>

#include <span>
#include <vector>

#include "canon/layout.hpp"
#include "vma/format.hpp"

namespace vmad::canon {

/// A cluster as its source stored it.
struct StoredCluster {
    std::uint16_t mask = 0;  ///< which blocks are stored
    const std::byte* blocks =
        nullptr;  ///< the stored blocks, one behind the other; may be null when mask is 0
};

/// True when all kBlockSize bytes are zero.
[[nodiscard]] bool is_zero_block(const std::byte* block) noexcept;

/// What a seek table says of an extent with these bytes: the low half of their XXH64.
[[nodiscard]] std::uint32_t extent_checksum(std::span<const iovec> slices);

/// The extent as it is written: its header, then slices of the caller's memory.
class SealedExtent {
  public:
    /// `clusters` holds plan.cluster_count entries, whose blocks outlive this object. Blocks that are all
    /// zero or past the device's end are left out; of a block that the end cuts, the tail is zero.
    SealedExtent(const ExtentPlan& plan, std::span<const StoredCluster> clusters);
    // The slices point into this object too.
    SealedExtent(const SealedExtent&) = delete;
    SealedExtent& operator=(const SealedExtent&) = delete;

    /// Header and blocks in order, ready for a gathering write; at most 1 + 32 * 16 of them. A writer may use
    /// them up.
    [[nodiscard]] std::span<iovec> slices() noexcept { return slices_; }
    [[nodiscard]] std::uint64_t size_bytes() const noexcept { return size_bytes_; }
    [[nodiscard]] bool has_payload() const noexcept { return size_bytes_ > header_.size(); }
    [[nodiscard]] const std::array<std::byte, vma::kExtentHeaderSize>& header() const noexcept {
        return header_;
    }

  private:
    std::array<std::byte, vma::kExtentHeaderSize> header_;
    std::array<std::byte, vma::kBlockSize> cut_block_;  ///< the one block that a device's end can cut
    std::vector<iovec> slices_;
    std::uint64_t size_bytes_ = 0;
};

}  // namespace vmad::canon
