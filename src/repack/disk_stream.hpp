// One disk of an archive as a stream of its bytes, from its start to its end, zeros included.
#pragma once

#include <string>

#include "access/archive_index.hpp"
#include "base/limits.hpp"
#include "codec/archive_source.hpp"
#include "engine/spill_file.hpp"

namespace vmad::repack {

struct DiskStreamOptions {
    base::TaskOptions task;
    std::string device;            ///< may lack its "drive-"; empty: the only one
    access::IndexOptions index{};  ///< how the disk is found in the archive
};

/// Where the disk can be found in the file (access::ArchiveIndex), only that is read. Any other archive, also
/// one that is damaged where its disks are looked up, is read as engine::repack() does, from its start to its
/// end: what it cannot keep in order in memory goes to a file below /var/tmp, and every rule of the format is
/// checked. `source`, of which nothing was read, and `source_file`, null when it is a stream, are of one
/// archive. Nothing but the bytes of the disk is written, but after an error they are not all. Throws
/// base::UsageError when there is no such device, access::DamagedRegion, and what engine::repack() throws.
void stream_disk(io::FileSystem& fs, codec::ArchiveSource& source, const io::File* source_file,
                 io::ByteSink& sink, const DiskStreamOptions& options);

}  // namespace vmad::repack
