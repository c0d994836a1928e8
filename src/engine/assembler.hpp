// Puts clusters that come in any order into the extents of the canonical layout, within a memory budget.
//
// Threads that digest the source call add; threads that write extents call next and written. Payload is kept
// as slices of the source's buffers. What does not fit the budget is dropped when the source can be read
// again by offset, and else written to a spill file; so is, when it gets too much, the knowledge of where
// clusters are. So any disorder works, only slower, and memory does not depend on the archive's size, but for
// an index of eight bytes for each extent in regions of which one was spilled.
//
// Who waits: add for the writers, when they have work enough, or the budget is used up and they have some;
// next for add.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>

#include "base/buffer_pool.hpp"
#include "canon/layout.hpp"
#include "engine/spill_file.hpp"
#include "vma/archive_reader.hpp"

namespace vmad::engine {

/// Where a cluster's stored blocks are: in memory, or only in the source or the spill file.
struct AssembledCluster {
    std::uint16_t mask = 0;
    std::uint64_t source_offset = 0;       ///< of the first stored block
    std::shared_ptr<base::Buffer> buffer;  ///< owns `blocks`, when it is not empty
    const std::byte* blocks = nullptr;
};

/// An extent whose clusters are all known, or spilled.
struct AssembledExtent {
    std::uint64_t number = 0;
    canon::ExtentPlan plan;
    std::array<AssembledCluster, canon::kClustersPerRegion>
        clusters;                              ///< the first plan.cluster_count are used
    std::uint64_t spilled = SpillFile::kNone;  ///< the chain of records that hold the others
    unsigned empty_followers = 0;  ///< so many extents behind this one, in its group, store nothing at all
};

/// What becomes of payload that the budget has no room for.
enum class Overflow {
    drop,   ///< the source can be read again by offset
    spill,  ///< it cannot
};

class Assembler {
  public:
    /// `layout`, `buffers` and `spill` outlive this object. Any budget works, 0 too.
    Assembler(const canon::Layout& layout, base::BufferPool& buffers, SpillFile& spill, Overflow overflow,
              std::uint64_t budget_bytes);

    /// Takes the clusters of a source extent that was checked by the reader. Any thread. Throws what
    /// SpillFile::write throws.
    void add(const vma::Extent& extent);
    /// The source has been added to its end.
    void end();

    /// The next extent in canonical order, waiting for it, with those behind it that can go along. Nothing at
    /// the end, or after abort. Any thread.
    [[nodiscard]] std::optional<AssembledExtent> next();
    /// The payload of an extent from next() is no longer needed: its memory counts no longer. Any thread.
    void written(const AssembledExtent& extent);

    /// Wakes everybody; add and next return at once from now on.
    void abort() noexcept;

  private:
    using Lock = std::unique_lock<std::mutex>;

    /// Source offset (48 bits) and mask of each cluster: eight bytes a cluster, because of these there may be
    /// many.
    struct OpenExtent {
        std::array<std::uint64_t, canon::kClustersPerRegion> places{};
        std::uint64_t filled = 0;  ///< a bit for each slot
    };
    struct Slice {
        std::shared_ptr<base::Buffer> buffer;
        const std::byte* blocks = nullptr;
    };
    /// The payload of an open extent, as far as it is in memory.
    struct Held {
        std::array<Slice, canon::kClustersPerRegion> slices;
        unsigned count = 0;
    };
    using HeldMap = std::map<std::uint64_t, std::unique_ptr<Held>>;

    /// What the spill file has of each extent.
    class SpilledIndex {
      public:
        struct Entry {
            std::uint64_t record = SpillFile::kNone;  ///< the last of its chain
            unsigned clusters = 0;
        };
        explicit SpilledIndex(std::uint64_t extent_count) : extent_count_(extent_count) {}
        [[nodiscard]] Entry find(std::uint64_t extent) const;
        void set(std::uint64_t extent, Entry entry);

      private:
        static constexpr std::uint64_t kPageEntries = 64;
        using Page = std::array<std::uint64_t, kPageEntries>;
        std::uint64_t extent_count_;
        std::vector<std::unique_ptr<Page>> pages_;  ///< none before the first is needed
    };

    [[nodiscard]] bool next_is_complete() const;
    [[nodiscard]] bool next_is_empty() const;
    [[nodiscard]] bool must_wait() const;
    [[nodiscard]] bool is_over_budget() const;
    [[nodiscard]] bool relief_is_near() const;
    void place(std::uint64_t extent, unsigned slot, std::uint64_t source_offset, std::uint16_t mask,
               const Slice& blocks);
    void hold(std::uint64_t extent, unsigned slot, Slice slice);
    void pin(const Slice& slice);
    void unpin(const std::shared_ptr<base::Buffer>& buffer);
    void release(const Held& held);
    void keep_within_budget(Lock& lock);
    void spill_payload(Lock& lock);
    [[nodiscard]] std::vector<std::uint64_t> fullest_far_extents() const;
    void spill(Lock& lock, std::uint64_t extent);

    const canon::Layout& layout_;
    base::BufferPool& buffers_;
    SpillFile& spill_file_;
    const Overflow overflow_;
    const std::uint64_t budget_bytes_;
    const std::uint64_t near_extents_;  ///< payload of clusters up to here ahead is worth keeping as it is
    const std::size_t max_open_extents_;

    std::mutex mutex_;
    std::condition_variable changed_;
    std::map<std::uint64_t, OpenExtent> open_;
    HeldMap held_;
    SpilledIndex spilled_;
    std::unordered_map<const base::Buffer*, unsigned> pins_;  ///< slices that refer to a buffer
    std::uint64_t pinned_bytes_ = 0;                          ///< of the buffers in pins_
    std::uint64_t next_ = 0;                                  ///< the extent whose turn it is
    unsigned being_written_ = 0;
    bool spilling_ = false;  ///< a thread does, without the lock
    bool ended_ = false;
    bool aborted_ = false;
};

}  // namespace vmad::engine
