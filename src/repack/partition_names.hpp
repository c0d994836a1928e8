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

namespace vmad::repack {

/// A byte of a disk.
struct ArchivePlace {
    std::string disk;
    std::uint64_t offset = 0;
};

/// For each place, "2 (ext4)" or the like. Empty where there is none, or it could not be found: the archive
/// may be damaged, or of a format that can only be read from its start. `checksums`, of a raw archive, spare
/// reading all of its headers, and may be null. Throws base::Cancelled.
[[nodiscard]] std::vector<std::string> partition_names(io::FileSystem& fs, const io::File& archive,
                                                       std::span<const ArchivePlace> places,
                                                       const std::vector<access::DiskChecksums>* checksums,
                                                       const base::CancelFlag& cancel);

}  // namespace vmad::repack
