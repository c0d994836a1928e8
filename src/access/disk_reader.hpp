// Reads the disks of an archive at any offset, as if they were files.
//
// Decoded regions are kept up to a memory limit, and some are decoded ahead of reads that go on where the
// last one ended. What is damaged fails the reads that touch it, and no other. Any thread.
#pragma once

#include <bitset>
#include <cstdint>
#include <functional>
#include <mutex>
#include <set>
#include <span>

#include "access/archive_index.hpp"
#include "access/read_streams.hpp"
#include "access/shared_cache.hpp"

namespace vmad::access {

/// A piece of a device that is stored or zero as a whole.
struct DiskRange {
    std::uint64_t offset = 0;
    std::uint64_t bytes = 0;
    bool stored = false;
};

class DiskReader {
  public:
    struct Options {
        std::uint64_t memory_bytes = std::uint64_t{128} << 20;  ///< of decoded regions that are kept
        unsigned read_ahead = 0;  ///< regions decoded ahead of sequential reads; 0: twice the processors
        /// Called once for each damaged region, by the thread that finds it.
        std::function<void(const DamagedRegion&)> report_damage{};
    };

    /// `index` and the file that it was read of outlive this object. Threads are started by the first
    /// sequential reads, not here.
    DiskReader(const ArchiveIndex& index, Options options);
    DiskReader(const DiskReader&) = delete;
    DiskReader& operator=(const DiskReader&) = delete;
    ~DiskReader() = default;

    /// Reads at `offset` of a device of the archive; all of `into` lies within it. What is not stored is
    /// zero. Throws DamagedRegion, base::SystemError.
    void read_at(std::uint8_t device_id, std::uint64_t offset, std::span<std::byte> into);

    /// The range that `offset`, which is below the device's size, is in: from there to the range's end. It
    /// may be followed by one of the same kind: ranges end where regions do. Decodes the region, and keeps
    /// it. Throws as read_at().
    [[nodiscard]] DiskRange range_at(std::uint8_t device_id, std::uint64_t offset);

    /// How many bytes of a device are stored, in whole blocks: nothing is read for it.
    [[nodiscard]] std::uint64_t stored_bytes(std::uint8_t device_id) const;

    /// Of the regions that are kept.
    [[nodiscard]] std::uint64_t memory_bytes() const { return regions_.memory_bytes(); }

  private:
    [[nodiscard]] std::shared_ptr<const Region> region(const RegionNumber& number);
    [[nodiscard]] Region load(const RegionNumber& number);
    void follow(std::uint8_t device_id, std::uint64_t offset, std::uint64_t bytes);
    void ask_for_regions_after(const RegionNumber& number);

    const ArchiveIndex& index_;
    const Options options_;
    const std::size_t ahead_;  ///< regions
    std::mutex damaged_mutex_;
    std::set<RegionNumber> damaged_;  ///< that were reported
    ReadStreams streams_;
    SharedCache<RegionNumber, Region> regions_;
    BackgroundLoader<RegionNumber> loader_;  ///< last, so that its threads end before the rest goes
};

}  // namespace vmad::access
