#include "repack/assembler.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/error.hpp"

namespace vmad::repack {
namespace {

// A place packs the source offset above the mask.
constexpr unsigned kMaskBits = 16;
constexpr std::uint64_t kMaxSourceOffset = (std::uint64_t{1} << (64 - kMaskBits)) - 1;

std::size_t stored_bytes_of(std::uint16_t mask) {
    return static_cast<std::size_t>(std::popcount(mask)) * vma::kBlockSize;
}

/// At least this many extents are kept in mind, so that every pass gets some way.
constexpr std::uint64_t kMinOpenExtents = 2;
constexpr std::uint64_t kMinNearExtents = 2;

}  // namespace

std::size_t AssembledCluster::stored_bytes() const noexcept { return stored_bytes_of(mask); }

// Half of the budget for the payload that comes next, a quarter for remembering where clusters are; far
// clusters may use what is left. A map's node costs some pointers more than its value.
Assembler::Assembler(const canon::Layout& layout, base::BufferPool& buffers, std::uint64_t budget_bytes)
    : layout_(layout),
      buffers_(buffers),
      budget_bytes_(budget_bytes),
      near_extents_(std::max(kMinNearExtents, budget_bytes / 2 / vma::kMaxExtentPayload)),
      max_open_extents_(std::max(kMinOpenExtents, budget_bytes / 4 / (sizeof(OpenExtent) + 64))),
      limit_(layout.extent_count()) {}

void Assembler::add(const vma::Extent& extent) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] {
        return aborted_ || pinned_bytes_ <= budget_bytes_ || !(writing_ || next_is_complete());
    });
    if (aborted_) return;
    if (extent.payload_offset() + extent.header.payload_bytes() > kMaxSourceOffset)
        throw base::Unsupported("an archive of more than 256 TiB is not supported");
    std::size_t at = 0;
    for (const auto& slot : extent.header.slots) {
        if (slot.device_id == 0) continue;
        const auto [number, index] = layout_.place(slot.device_id, slot.cluster);
        const Slice blocks{extent.payload, extent.payload ? extent.payload->data() + at : nullptr};
        if (number >= next_ && number < limit_)
            place(number, index, extent.payload_offset() + at, slot.mask, blocks);
        at += stored_bytes_of(slot.mask);
    }
    keep_within_budget();
    lock.unlock();
    changed_.notify_all();
}

void Assembler::place(std::uint64_t extent, unsigned slot, std::uint64_t source_offset, std::uint16_t mask,
                      const Slice& blocks) {
    auto& open = open_[extent];
    open.places[slot] = source_offset << kMaskBits | mask;
    ++open.filled;
    const auto size = stored_bytes_of(mask);
    if (size == 0 || !blocks.buffer) return;
    if (extent < next_ + near_extents_) {
        hold(extent, slot, blocks);
    } else if (pinned_bytes_ + size <= budget_bytes_ || (!held_.empty() && extent < held_.rbegin()->first)) {
        // Its turn is far away: a copy, so that 64 KiB do not keep a whole source extent in memory. What is
        // farther still makes room for it.
        auto own = buffers_.get(size);
        std::memcpy(own->data(), blocks.blocks, size);
        const auto* bytes = own->data();
        hold(extent, slot, {std::move(own), bytes});
    }
}

void Assembler::hold(std::uint64_t extent, unsigned slot, Slice slice) {
    auto& held = held_[extent];
    if (!held) {
        held = std::make_unique<Held>();
        pinned_bytes_ += sizeof(Held);
    }
    pin(slice);
    (*held)[slot] = std::move(slice);
}

void Assembler::pin(const Slice& slice) {
    if (pins_[slice.buffer.get()]++ == 0) pinned_bytes_ += slice.buffer->capacity();
}

void Assembler::unpin(const std::shared_ptr<base::Buffer>& buffer) {
    if (!buffer) return;
    const auto pins = pins_.find(buffer.get());
    if (--pins->second > 0) return;
    pinned_bytes_ -= buffer->capacity();
    pins_.erase(pins);
}

void Assembler::drop(std::map<std::uint64_t, std::unique_ptr<Held>>::iterator held) {
    for (const auto& slice : *held->second) unpin(slice.buffer);
    pinned_bytes_ -= sizeof(Held);
    held_.erase(held);
}

void Assembler::keep_within_budget() {
    while (open_.size() > max_open_extents_ && std::prev(open_.end())->first != next_) {
        const auto farthest = std::prev(open_.end());
        limit_ = farthest->first;
        if (const auto held = held_.find(limit_); held != held_.end()) drop(held);
        open_.erase(farthest);
    }
    // The writer frees memory soon when it has work; else it waits for a cluster that is still to come.
    if (writing_ || next_is_complete()) return;
    while (pinned_bytes_ > budget_bytes_ && !held_.empty()) drop(std::prev(held_.end()));
}

bool Assembler::next_is_complete() const {
    if (next_ >= layout_.extent_count()) return false;
    const auto open = open_.find(next_);
    const auto filled = open == open_.end() ? 0 : open->second.filled;
    return filled == layout_.plan(next_).cluster_count;
}

std::optional<AssembledExtent> Assembler::next() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return aborted_ || pass_ended_ || next_is_complete(); });
    if (aborted_ || !next_is_complete()) return std::nullopt;
    AssembledExtent result;
    result.number = next_;
    result.plan = layout_.plan(next_);
    const auto open = open_.find(next_);
    const auto held = held_.find(next_);
    for (unsigned i = 0; i < result.plan.cluster_count; ++i) {
        auto& cluster = result.clusters[i];
        cluster.mask = static_cast<std::uint16_t>(open->second.places[i]);
        cluster.source_offset = open->second.places[i] >> kMaskBits;
        if (held == held_.end()) continue;
        cluster.buffer = std::move((*held->second)[i].buffer);
        cluster.blocks = (*held->second)[i].blocks;
    }
    if (held != held_.end()) drop(held);  // its slices have moved out and stay pinned until written
    if (open != open_.end()) open_.erase(open);
    ++next_;
    writing_ = true;
    return result;
}

void Assembler::written(const AssembledExtent& extent) {
    {
        const std::lock_guard lock(mutex_);
        for (const auto& cluster : extent.clusters) unpin(cluster.buffer);
        writing_ = false;
    }
    changed_.notify_all();
}

void Assembler::end_pass() {
    {
        const std::lock_guard lock(mutex_);
        pass_ended_ = true;
    }
    changed_.notify_all();
}

void Assembler::begin_pass() {
    const std::lock_guard lock(mutex_);
    pass_ended_ = false;
    open_.clear();
    while (!held_.empty()) drop(held_.begin());
    limit_ = layout_.extent_count();
}

bool Assembler::finished() const {
    const std::lock_guard lock(mutex_);
    return next_ == layout_.extent_count();
}

void Assembler::abort() noexcept {
    {
        const std::lock_guard lock(mutex_);
        aborted_ = true;
    }
    changed_.notify_all();
}

}  // namespace vmad::repack
