#include "canon/sealed_extent.hpp"

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>

#include <xxhash.h>

#include "vma/extent.hpp"

namespace vmad::canon {

bool is_zero_block(const std::byte* block) noexcept {
    // Most blocks that are stored differ from zero at once; comparing with itself, shifted, makes the rest
    // one call that the C library has vectorized.
    std::uint64_t first;
    std::memcpy(&first, block, sizeof first);
    return first == 0 && std::memcmp(block, block + sizeof first, vma::kBlockSize - sizeof first) == 0;
}

std::uint32_t extent_checksum(std::span<const iovec> slices) {
    struct Free {
        void operator()(XXH64_state_t* state) const noexcept { ::XXH64_freeState(state); }
    };
    const std::unique_ptr<XXH64_state_t, Free> state(::XXH64_createState());
    if (!state) throw std::bad_alloc();
    ::XXH64_reset(state.get(), 0);
    for (const auto& slice : slices) ::XXH64_update(state.get(), slice.iov_base, slice.iov_len);
    return static_cast<std::uint32_t>(::XXH64_digest(state.get()));
}

SealedExtent::SealedExtent(const ExtentPlan& plan, std::span<const StoredCluster> clusters) {
    std::array<vma::BlockInfo, vma::kSlotsPerExtent> slots{};
    slices_.push_back({header_.data(), header_.size()});
    const auto append = [this](const std::byte* block) {
        auto& last = slices_.back();
        if (static_cast<const std::byte*>(last.iov_base) + last.iov_len == block && slices_.size() > 1)
            last.iov_len += vma::kBlockSize;
        else
            slices_.push_back({const_cast<std::byte*>(block), vma::kBlockSize});
    };
    for (unsigned i = 0; i < plan.cluster_count; ++i) {
        const auto cluster = plan.first_cluster + i;
        slots[i] = {0, plan.device_id, cluster};
        const std::byte* block = clusters[i].blocks;
        for (unsigned n = 0; n < vma::kBlocksPerCluster; ++n) {
            if ((clusters[i].mask >> n & 1) == 0) continue;
            const std::byte* stored = block;
            block += vma::kBlockSize;
            const auto at = std::uint64_t{cluster} * vma::kClusterSize + n * vma::kBlockSize;
            if (at >= plan.device_size_bytes) continue;
            if (const auto room = plan.device_size_bytes - at; room < vma::kBlockSize) {
                cut_block_.fill(std::byte{0});
                std::memcpy(cut_block_.data(), stored, room);
                stored = cut_block_.data();
            }
            if (is_zero_block(stored)) continue;
            slots[i].mask = static_cast<std::uint16_t>(slots[i].mask | 1u << n);
            append(stored);
        }
    }
    header_ = vma::encode_extent_header(slots, kCanonicalUuid);
    for (const auto& slice : slices_) size_bytes_ += slice.iov_len;
}

}  // namespace vmad::canon
