// What the seek table of a canonical zstd archive says of the regions of its disks: enough to tell what
// changed since another one without reading either.
//
// A region's frame holds the region's content and where it belongs: regions of one number, of disks with one
// device id, are equal when their frames are. Any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/task.hpp"
#include "codec/archive_format.hpp"
#include "io/file_system.hpp"
#include "vma/format.hpp"

namespace vmad::access {

/// A region of which anything is stored.
struct RegionChecksum {
    std::uint32_t region = 0;
    std::uint32_t content_bytes = 0;  ///< of its stored blocks
    std::uint32_t checksum = 0;       ///< the low half of XXH64 of its frame's content
    std::uint32_t stored_bytes = 0;   ///< of its frame in the file, with the filling behind it
    std::uint64_t stored_offset = 0;  ///< of its frame in the file
};

struct DiskChecksums {
    vma::Device device;                   ///< with its canonical id
    std::vector<RegionChecksum> regions;  ///< ascending; all others are zero
};

/// Whether these are the disks of a canonical archive with this header.
[[nodiscard]] bool are_disks_of(const std::vector<DiskChecksums>& disks, const vma::Header& header);

/// Where the regions of a canonical archive stand in its file.
struct StoredRegions {
    codec::ArchiveFormat format = codec::ArchiveFormat::raw;
    std::uint64_t header_bytes = 0;    ///< of the archive, before the first extent
    bool has_checksums = false;        ///< else those of the regions are 0: a raw archive has none
    std::vector<DiskChecksums> disks;  ///< in the order of the header
};

/// Nothing when the archive is neither a canonical raw one nor a canonical zstd one, or
/// stores more regions than `max_regions`. Of a raw archive the
/// header of each extent is read, of a zstd one the header and the seek table alone, so what they say may be
/// wrong. Throws base::FormatError, base::Unsupported, base::SystemError, base::Cancelled.
[[nodiscard]] std::optional<StoredRegions> read_stored_regions(io::FileSystem& fs, const io::File& file,
                                                               const base::CancelFlag& cancel,
                                                               std::uint64_t max_regions = UINT64_MAX);

/// In the order of the header. Nothing when the archive is not a canonical zstd one, or stores more regions
/// than `max_regions`. Only the header and the seek table are read, so what they say may be wrong. Throws
/// base::FormatError, base::Unsupported, base::SystemError, base::Cancelled.
[[nodiscard]] std::optional<std::vector<DiskChecksums>> read_region_checksums(
    io::FileSystem& fs, const io::File& file, const base::CancelFlag& cancel,
    std::uint64_t max_regions = UINT64_MAX);

}  // namespace vmad::access
