#include "engine/assembler.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/error.hpp"

namespace vmad::engine {
namespace {

// A place packs the source offset above the mask.
constexpr unsigned kMaskBits = 16;
constexpr std::uint64_t kMaxSourceOffset = (std::uint64_t{1} << (64 - kMaskBits)) - 1;

// An entry of the spilled index packs the record's offset above the number of its clusters.
constexpr unsigned kCountBits = 6;
constexpr std::uint64_t kCountMask = (1 << kCountBits) - 1;
static_assert(canon::kClustersPerRegion <= kCountMask);

constexpr std::uint64_t kMinNearExtents = 2;
/// No more is read than this as long as the writers have work.
constexpr std::uint64_t kEnoughBytes = 16 * canon::kRegionBytes;
constexpr std::size_t kEnoughExtents = 1024;
/// At least this many extents are kept in mind.
constexpr std::uint64_t kMinOpenExtents = 2;

}  // namespace

Assembler::SpilledIndex::Entry Assembler::SpilledIndex::find(std::uint64_t extent) const {
    if (pages_.empty() || !pages_[extent / kPageEntries]) return {};
    const auto packed = (*pages_[extent / kPageEntries])[extent % kPageEntries];
    if (packed == 0) return {};
    return {packed >> kCountBits, static_cast<unsigned>(packed & kCountMask)};
}

void Assembler::SpilledIndex::set(std::uint64_t extent, Entry entry) {
    if (pages_.empty()) pages_.resize(base::divide_up(extent_count_, kPageEntries));
    auto& page = pages_[extent / kPageEntries];
    if (!page) page = std::make_unique<Page>();
    (*page)[extent % kPageEntries] = entry.record << kCountBits | entry.clusters;
}

// Half of the budget for the payload that comes next, a quarter for remembering where clusters are; far
// clusters may use what is left. A map's node costs some pointers more than its value.
Assembler::Assembler(const canon::Layout& layout, base::BufferPool& buffers, SpillFile& spill,
                     Overflow overflow, std::uint64_t budget_bytes)
    : layout_(layout),
      buffers_(buffers),
      spill_file_(spill),
      overflow_(overflow),
      budget_bytes_(budget_bytes),
      near_extents_(std::max(kMinNearExtents, budget_bytes / 2 / canon::kRegionBytes)),
      max_open_extents_(std::max(kMinOpenExtents, budget_bytes / 4 / (sizeof(OpenExtent) + 64))),
      spilled_(layout.extent_count()) {}

void Assembler::add(const vma::Extent& extent) {
    Lock lock(mutex_);
    changed_.wait(lock, [this] { return aborted_ || !must_wait(); });
    if (aborted_) return;
    if (extent.payload_offset() + extent.header.payload_bytes() > kMaxSourceOffset)
        throw base::Unsupported("an archive of more than 256 TiB is not supported");
    std::size_t at = 0;
    for (const auto& slot : extent.header.slots) {
        if (slot.device_id == 0) continue;
        const auto [number, index] = layout_.place(slot.device_id, slot.cluster);
        place(number, index, extent.payload_offset() + at, slot.mask,
              {extent.payload, extent.payload->data() + at});
        at += vma::stored_bytes(slot.mask);
    }
    keep_within_budget(lock);
    lock.unlock();
    changed_.notify_all();
}

void Assembler::place(std::uint64_t extent, unsigned slot, std::uint64_t source_offset, std::uint16_t mask,
                      const Slice& blocks) {
    auto& open = open_[extent];
    open.places[slot] = source_offset << kMaskBits | mask;
    open.filled |= std::uint64_t{1} << slot;
    const auto size = vma::stored_bytes(mask);
    if (size == 0) return;
    if (extent < next_ + near_extents_) return hold(extent, slot, blocks);
    // What is to be dropped for something nearer can as well be dropped now.
    if (overflow_ == Overflow::drop && pinned_bytes_ + size > budget_bytes_ &&
        (held_.empty() || extent >= held_.rbegin()->first))
        return;
    // Its turn is far away: a copy, so that 64 KiB do not keep a whole source extent in memory.
    auto own = buffers_.get(size);
    std::memcpy(own->data(), blocks.blocks, size);
    const auto* bytes = own->data();
    hold(extent, slot, {std::move(own), bytes});
}

void Assembler::hold(std::uint64_t extent, unsigned slot, Slice slice) {
    auto& held = held_[extent];
    if (!held) {
        held = std::make_unique<Held>();
        pinned_bytes_ += sizeof(Held);
    }
    pin(slice);
    held->slices[slot] = std::move(slice);
    ++held->count;
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

void Assembler::release(const Held& held) {
    for (const auto& slice : held.slices) unpin(slice.buffer);
    pinned_bytes_ -= sizeof(Held);
}

bool Assembler::must_wait() const {
    // What waits for the writers only gets cold in the processor's caches.
    if ((pinned_bytes_ > kEnoughBytes || open_.size() > kEnoughExtents) && next_is_complete()) return true;
    return is_over_budget() && (relief_is_near() || spilling_);
}

bool Assembler::is_over_budget() const {
    return pinned_bytes_ > budget_bytes_ || open_.size() > max_open_extents_;
}

bool Assembler::relief_is_near() const { return being_written_ > 0 || next_is_complete(); }

void Assembler::keep_within_budget(Lock& lock) {
    // The writers free memory soon when they have work; else they wait for a cluster that is still to come.
    if (!is_over_budget() || relief_is_near() || spilling_) return;
    while (open_.size() > max_open_extents_ && std::prev(open_.end())->first != next_ && !aborted_)
        spill(lock, std::prev(open_.end())->first);
    if (pinned_bytes_ <= budget_bytes_ || relief_is_near() || spilling_) return;
    if (overflow_ == Overflow::spill) return spill_payload(lock);
    while (pinned_bytes_ > budget_bytes_ && !held_.empty()) {
        const auto farthest = std::prev(held_.end());
        release(*farthest->second);
        held_.erase(farthest);
    }
}

void Assembler::spill_payload(Lock& lock) {
    // More than must be, or the next cluster would have to be spilled alone.
    const auto enough = budget_bytes_ / 4 * 3;
    for (const auto extent : fullest_far_extents()) {
        if (pinned_bytes_ <= enough || aborted_) return;
        if (held_.count(extent) != 0 && extent != next_) spill(lock, extent);
    }
    while (pinned_bytes_ > enough && !held_.empty() && !aborted_) spill(lock, std::prev(held_.end())->first);
}

/// Whole extents of a later device rather than those that fill up just now: large records, read back in one
/// piece.
std::vector<std::uint64_t> Assembler::fullest_far_extents() const {
    std::vector<std::pair<unsigned, std::uint64_t>> far;
    for (auto held = held_.lower_bound(next_ + near_extents_); held != held_.end(); ++held)
        far.emplace_back(held->second->count, held->first);
    std::sort(far.rbegin(), far.rend());
    std::vector<std::uint64_t> extents;
    for (const auto& [count, extent] : far) extents.push_back(extent);
    return extents;
}

void Assembler::spill(Lock& lock, std::uint64_t extent) {
    const auto open = open_.extract(extent).mapped();
    const auto held = held_.extract(extent);
    std::vector<SpilledCluster> clusters;
    for (unsigned slot = 0; slot < canon::kClustersPerRegion; ++slot) {
        if ((open.filled >> slot & 1) == 0) continue;
        const auto* blocks =
            overflow_ == Overflow::spill && held ? held.mapped()->slices[slot].blocks : nullptr;
        clusters.push_back({open.places[slot] >> kMaskBits, static_cast<std::uint16_t>(open.places[slot]),
                            static_cast<std::uint16_t>(slot), blocks});
    }
    auto entry = spilled_.find(extent);
    // Others may add meanwhile, to the same extent too; it is not complete before its entry says so.
    spilling_ = true;
    lock.unlock();
    const auto done = [&] {
        lock.lock();
        spilling_ = false;
    };
    try {
        entry.record = spill_file_.write(entry.record, clusters);
    } catch (...) {
        done();
        throw;
    }
    done();
    entry.clusters += static_cast<unsigned>(clusters.size());
    spilled_.set(extent, entry);
    if (held) release(*held.mapped());
    changed_.notify_all();
}

bool Assembler::next_is_complete() const {
    if (next_ >= layout_.extent_count()) return false;
    const auto open = open_.find(next_);
    const auto filled = open == open_.end() ? 0 : static_cast<unsigned>(std::popcount(open->second.filled));
    return filled + spilled_.find(next_).clusters == layout_.plan(next_).cluster_count;
}

std::optional<AssembledExtent> Assembler::next() {
    Lock lock(mutex_);
    changed_.wait(lock, [this] { return aborted_ || ended_ || next_is_complete(); });
    if (aborted_ || !next_is_complete()) return std::nullopt;
    AssembledExtent result;
    result.number = next_;
    result.plan = layout_.plan(next_);
    result.spilled = spilled_.find(next_).record;
    const auto open = open_.extract(next_);
    const auto held = held_.extract(next_);
    for (unsigned i = 0; i < result.plan.cluster_count && open; ++i) {
        auto& cluster = result.clusters[i];
        cluster.mask = static_cast<std::uint16_t>(open.mapped().places[i]);
        cluster.source_offset = open.mapped().places[i] >> kMaskBits;
        if (!held) continue;
        cluster.buffer = std::move(held.mapped()->slices[i].buffer);  // stays pinned until written
        cluster.blocks = held.mapped()->slices[i].blocks;
    }
    if (held) pinned_bytes_ -= sizeof(Held);
    ++next_;
    while (next_ % canon::kExtentsPerGroup != 0 && next_is_empty()) {
        open_.erase(next_);
        ++next_;
        ++result.empty_followers;
    }
    ++being_written_;
    return result;
}

/// Complete, and known to store nothing: thin disks have millions of such extents.
bool Assembler::next_is_empty() const {
    if (!next_is_complete() || spilled_.find(next_).clusters > 0) return false;
    const auto open = open_.find(next_);
    return open == open_.end() || std::ranges::all_of(open->second.places, [](std::uint64_t place) {
               return static_cast<std::uint16_t>(place) == 0;
           });
}

void Assembler::written(const AssembledExtent& extent) {
    {
        const std::lock_guard lock(mutex_);
        for (const auto& cluster : extent.clusters) unpin(cluster.buffer);
        --being_written_;
    }
    changed_.notify_all();
}

void Assembler::end() {
    {
        const std::lock_guard lock(mutex_);
        ended_ = true;
    }
    changed_.notify_all();
}

void Assembler::abort() noexcept {
    {
        const std::lock_guard lock(mutex_);
        aborted_ = true;
    }
    changed_.notify_all();
}

}  // namespace vmad::engine
