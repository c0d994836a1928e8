// Names the partitions that places on the disks of an archive lie in, by the confined parser.
//
// One thread; forks while it runs.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "access/checksum_store.hpp"
#include "base/task.hpp"
#include "io/file_system.hpp"
#include "verify/archive_look.hpp"

namespace vmad::repack {

/// A byte of a disk.
struct ArchivePlace {
    std::string disk;
    std::uint64_t offset = 0;
};

/// Where to look for the partition that a damaged stretch is in: the first partition of a disk begins within
/// a region.
[[nodiscard]] ArchivePlace place_for_partition(const verify::DamagedStretch& stretch);

/// For each place, "2 (ext4)" or the like. Empty where there is none, or it could not be found: the archive
/// may be damaged, or of a format that can only be read from its start. What `store` has of a raw archive
/// spares reading all of its headers. Throws base::Cancelled.
[[nodiscard]] std::vector<std::string> partition_names(io::FileSystem& fs, const io::File& archive,
                                                       std::span<const ArchivePlace> places,
                                                       const access::ChecksumStore& store,
                                                       const base::CancelFlag& cancel);

}  // namespace vmad::repack
