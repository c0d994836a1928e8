// The index of a canonical archive, raw or zstd.
//
// Private to this folder. The index: any thread.
#pragma once

#include "access/archive_index.hpp"
#include "access/extent_headers.hpp"
#include "access/region_checksums.hpp"

namespace vmad::access {

/// Null when the archive is not canonical, as far as its seek table, or `headers` of a raw one (else null)
/// tell. Throws what RegionCursor::open() throws, base::SystemError, base::Cancelled.
[[nodiscard]] std::unique_ptr<ArchiveIndex> read_canonical_index(io::FileSystem& fs, const io::File& file,
                                                                 codec::ArchiveFormat format,
                                                                 ExtentHeaders* headers,
                                                                 const base::CancelFlag& cancel);

/// Of a canonical raw archive whose regions are known: nothing of it is read but its header. Null when that
/// is not a canonical one. Regions that are not listed count as zero. Throws as read_canonical_index.
[[nodiscard]] std::unique_ptr<ArchiveIndex> known_raw_index(io::FileSystem& fs, const io::File& file,
                                                            const std::vector<DiskChecksums>& regions);

}  // namespace vmad::access
