// Puts clusters that come in any order into the extents of the canonical layout, within a memory budget.
//
// Threads that digest the source call add; one writer calls next and written. Payload is kept as slices of
// the source's buffers. What does not fit the budget is dropped and remembered by its offset in the source,
// for the writer to read again; of the extents farthest from their turn even that is forgotten when it gets
// too much, and gathered by another pass over the source's extent headers. So any disorder works, only
// slower, and memory does not depend on the archive's size.
//
// Who waits: add for the writer, when the budget is used up and the writer has work; next for add.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>

#include "base/buffer_pool.hpp"
#include "canon/layout.hpp"
#include "vma/archive_reader.hpp"

namespace vmad::repack {

/// Where a cluster's stored blocks are: always in the source, sometimes in memory too.
struct AssembledCluster {
    std::uint16_t mask = 0;
    std::uint64_t source_offset = 0;       ///< of the first stored block
    std::shared_ptr<base::Buffer> buffer;  ///< owns `blocks`; empty when the payload was dropped
    const std::byte* blocks = nullptr;

    [[nodiscard]] std::size_t stored_bytes() const noexcept;
};

/// An extent whose clusters are all known.
struct AssembledExtent {
    std::uint64_t number = 0;
    canon::ExtentPlan plan;
    std::array<AssembledCluster, vma::kSlotsPerExtent> clusters;  ///< the first plan.cluster_count are used
};

class Assembler {
  public:
    /// `layout` and `buffers` outlive this object. Any budget works, 0 too.
    Assembler(const canon::Layout& layout, base::BufferPool& buffers, std::uint64_t budget_bytes);

    /// Takes the clusters of a source extent that was checked by the reader. With payload in its buffer, or
    /// without (in a later pass). Any thread.
    void add(const vma::Extent& extent);
    /// The source has been added to its end.
    void end_pass();
    /// Another pass over the source begins: clusters that were forgotten are wanted again.
    void begin_pass();

    /// The next extent in canonical order, waiting for it. Nothing when the pass has ended before it was
    /// complete, or at the end, or after abort.
    [[nodiscard]] std::optional<AssembledExtent> next();
    /// `extent` has been written: its memory counts no longer.
    void written(const AssembledExtent& extent);
    /// True when every extent was handed out.
    [[nodiscard]] bool finished() const;

    /// Wakes everybody; add and next return at once from now on.
    void abort() noexcept;

  private:
    /// Source offset (48 bits) and mask of each cluster: eight bytes a cluster, because of these there may be
    /// many.
    struct OpenExtent {
        std::array<std::uint64_t, vma::kSlotsPerExtent> places{};
        unsigned filled = 0;
    };
    struct Slice {
        std::shared_ptr<base::Buffer> buffer;
        const std::byte* blocks = nullptr;
    };
    /// The payload of an open extent, as far as it is in memory.
    using Held = std::array<Slice, vma::kSlotsPerExtent>;

    [[nodiscard]] bool next_is_complete() const;
    void place(std::uint64_t extent, unsigned slot, std::uint64_t source_offset, std::uint16_t mask,
               const Slice& blocks);
    void hold(std::uint64_t extent, unsigned slot, Slice slice);
    void pin(const Slice& slice);
    void unpin(const std::shared_ptr<base::Buffer>& buffer);
    void drop(std::map<std::uint64_t, std::unique_ptr<Held>>::iterator held);
    void keep_within_budget();

    const canon::Layout& layout_;
    base::BufferPool& buffers_;
    const std::uint64_t budget_bytes_;
    const std::uint64_t near_extents_;  ///< payload of clusters up to here ahead is worth keeping as it is
    const std::size_t max_open_extents_;

    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::map<std::uint64_t, OpenExtent> open_;
    std::map<std::uint64_t, std::unique_ptr<Held>> held_;
    std::unordered_map<const base::Buffer*, unsigned> pins_;  ///< slices that refer to a buffer
    std::uint64_t pinned_bytes_ = 0;                          ///< of the buffers in pins_
    std::uint64_t next_ = 0;                                  ///< the extent whose turn it is
    std::uint64_t limit_;  ///< from here on extents are forgotten in this pass
    bool writing_ = false;
    bool pass_ended_ = false;
    bool aborted_ = false;
};

}  // namespace vmad::repack
