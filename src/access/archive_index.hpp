// Where the content of each device of an archive stands in its file, for reads in any order.
//
// Of a canonical archive by the seek table (zstd) or the extent headers (raw), of any other raw one by its
// extent headers. A region is 2 MiB of a device, as in the canonical layout, also where the archive has
// another one. Memory grows with the file: some 25 bytes for each region of a canonical archive of which
// anything is stored, as many for each frame of others, 264 for a region of another archive. Any thread, once
// it is read.
#pragma once

#include <array>
#include <bit>
#include <memory>
#include <utility>
#include <vector>

#include "base/task.hpp"
#include "canon/layout.hpp"
#include "codec/archive_format.hpp"
#include "io/file_system.hpp"
#include "vma/format.hpp"

namespace vmad::access {

class IndexCache;
struct DiskChecksums;

/// A region of a device; both by the archive's own header.
struct RegionNumber {
    std::uint8_t device_id = 0;
    std::uint32_t region = 0;  ///< from 0, in units of canon::kRegionBytes
    friend bool operator==(const RegionNumber&, const RegionNumber&) = default;
    friend bool operator<(const RegionNumber& a, const RegionNumber& b) noexcept {
        return std::pair(a.device_id, a.region) < std::pair(b.device_id, b.region);
    }
};

/// The blocks of a region, in memory.
class Region {
  public:
    /// Adds the next cluster: its stored blocks begin at `begin` of `bytes`.
    void set(unsigned cluster, std::uint16_t mask, std::size_t begin) { clusters_[cluster] = {mask, begin}; }

    /// A block by its number in the region; null when it is not stored, that is zero.
    [[nodiscard]] const std::byte* block(unsigned number) const noexcept {
        const auto& [mask, begin] = clusters_[number / vma::kBlocksPerCluster];
        const unsigned bit = 1U << number % vma::kBlocksPerCluster;
        if ((mask & bit) == 0) return nullptr;
        return bytes.data() + begin + std::popcount(mask & (bit - 1)) * vma::kBlockSize;
    }

    [[nodiscard]] std::size_t memory_bytes() const noexcept { return sizeof *this + bytes.capacity(); }

    std::vector<std::byte> bytes;

  private:
    struct Cluster {
        std::uint16_t mask = 0;
        std::size_t begin = 0;
    };
    std::array<Cluster, canon::kClustersPerRegion> clusters_{};
};

/// What a region of the archive holds could not be read: it is damaged, or the file is no longer what it was
/// when the index was made.
class DamagedRegion : public base::Error {
  public:
    DamagedRegion(const vma::Device& device, std::uint32_t region);
};

/// For a task that reads an index before it begins.
struct IndexOptions {
    base::ProgressSink progress{};      ///< of reading the index
    const IndexCache* cache = nullptr;  ///< outlives the reading
};

class ArchiveIndex {
  public:
    /// Of the archive in a regular file. `fs` and `file` outlive the index. Of a raw archive that is not
    /// canonical, the headers of all extents are checked against the rules of the format. For any raw archive
    /// all of them are read, which takes minutes where there are many and no cache, if given, has them:
    /// that reports progress (Stage::repacking). Throws base::Unsupported for an archive in which nothing
    /// can be found without reading what stands before it, and base::InvalidArchive, base::SystemError,
    /// base::Cancelled.
    [[nodiscard]] static std::unique_ptr<ArchiveIndex> read(io::FileSystem& fs, const io::File& file,
                                                            const base::TaskOptions& task,
                                                            const IndexCache* cache = nullptr);
    /// Of a canonical raw archive whose regions are known (access/checksum_store): only its header is read,
    /// and regions that are not listed count as zero. Null when it is another archive. Throws as read().
    [[nodiscard]] static std::unique_ptr<ArchiveIndex> of_known(io::FileSystem& fs, const io::File& file,
                                                                const std::vector<DiskChecksums>& regions);
    ArchiveIndex(const ArchiveIndex&) = delete;
    ArchiveIndex& operator=(const ArchiveIndex&) = delete;
    virtual ~ArchiveIndex() = default;

    /// As the archive has it, so with its own device ids.
    [[nodiscard]] const vma::Header& header() const noexcept { return header_; }
    [[nodiscard]] codec::ArchiveFormat format() const noexcept { return format_; }

    /// The regions of a device of which anything is stored, ascending; all others are zero. The device is one
    /// of header().
    [[nodiscard]] virtual std::vector<std::uint32_t> stored_regions(std::uint8_t device_id) const = 0;
    /// The first of them from this one on.
    [[nodiscard]] virtual std::optional<std::uint32_t> next_stored_region(const RegionNumber& from) const = 0;
    /// How many bytes of the file are to be read for a region; 0 when nothing of it is stored.
    [[nodiscard]] virtual std::uint64_t stored_bytes(const RegionNumber& number) const = 0;
    /// How many bytes the stored blocks of a region have.
    [[nodiscard]] virtual std::uint64_t content_bytes(const RegionNumber& number) const = 0;
    /// Checks that the archive holds zeros in all other regions of a device, as far as read() has not: a seek
    /// table alone could be wrong. Throws DamagedRegion, base::SystemError, base::Cancelled.
    virtual void check_zero_regions(std::uint8_t device_id, const base::CancelFlag& cancel) const = 0;
    /// Reads a region; nothing when none of it is stored, which is checked, too. Throws DamagedRegion,
    /// base::SystemError.
    [[nodiscard]] virtual std::optional<Region> load(const RegionNumber& number) const = 0;

  protected:
    ArchiveIndex(vma::Header header, codec::ArchiveFormat format)
        : header_(std::move(header)), format_(format) {}
    [[noreturn]] void throw_damaged(const RegionNumber& number) const;

  private:
    vma::Header header_;
    codec::ArchiveFormat format_;
};

}  // namespace vmad::access
