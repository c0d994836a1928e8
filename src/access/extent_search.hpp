// Finds what is still whole of a canonical archive that is damaged: raw, zstd or gzip.
//
// Goes on behind a damaged place. An extent tells by its own header which region it holds, so neither the
// seek table nor what stands before it is needed: frames with payload begin at pages, members and extent
// headers by their magic numbers. Blocks that cannot be read count as zeros, which no checksum passes. One
// thread.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "access/file_window.hpp"
#include "access/region_checksums.hpp"
#include "base/task.hpp"
#include "canon/digest.hpp"
#include "canon/layout.hpp"
#include "codec/archive_format.hpp"
#include "codec/stored_piece.hpp"
#include "io/file_system.hpp"

namespace vmad::access {

/// Extents that stand in one piece of the file: one with payload, or some without.
struct FoundExtents {
    std::uint64_t number = 0;  ///< of the first one
    std::uint64_t stored_offset = 0;
    std::uint32_t stored_bytes = 0;
    std::uint32_t bytes = 0;
    std::uint32_t count = 0;
};

/// Regions of a disk that follow each other.
struct RegionRange {
    std::uint8_t device_id = 0;  ///< canonical
    std::uint32_t first = 0;
    std::uint32_t count = 0;
    friend bool operator==(const RegionRange&, const RegionRange&) = default;
};

struct FoundArchive {
    explicit FoundArchive(const vma::Header& header) : sum(header), doubtful_sum(header) {}

    std::vector<FoundExtents> whole;     ///< ascending by number
    std::vector<FoundExtents> doubtful;  ///< whole in themselves, but not what was expected; ascending
    std::vector<RegionRange> missing;    ///< in the order of the archive, the doubtful ones included
    canon::ContentSum sum;               ///< of those that are whole
    canon::ContentSum doubtful_sum;
    std::uint64_t unreadable_bytes = 0;  ///< of the file: reading them is an I/O error
};

/// Of the archive in a regular file, which should have this layout, whatever its header says. `expected` may
/// be null: what the regions should be; a region that is not in it should be zero. What is of other disks
/// counts as null. Reads all of the file, past the page cache, and reports progress (Stage::verifying).
/// Throws base::Unsupported for lzo, base::SystemError, base::Cancelled.
[[nodiscard]] FoundArchive search_extents(io::FileSystem& fs, const io::File& file,
                                          codec::ArchiveFormat format, const canon::Layout& layout,
                                          const std::vector<DiskChecksums>* expected,
                                          const base::TaskOptions& task);

/// Reads extents that were found, once more. One thread at a time.
class FoundExtentReader {
  public:
    /// Both outlive this object.
    FoundExtentReader(io::FileSystem& fs, const io::File& file, codec::ArchiveFormat format);
    /// Their bytes, header and payload; those of a compressed archive are checked by their checksum. Throws
    /// base::Error when they are no longer there, base::SystemError.
    [[nodiscard]] std::vector<std::byte> read(const FoundExtents& extents);

  private:
    io::FileSystem& fs_;
    const io::File& file_;
    std::unique_ptr<codec::PieceDecoder> decoder_;  ///< null for a raw archive
};

}  // namespace vmad::access
