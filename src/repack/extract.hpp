// Restores the disks and configs of an archive as plain files, the way Proxmox's own tool names them.
//
// Every rule of the format is checked on the way, over the whole archive, whichever disks are wanted; but of
// a raw or canonical zstd archive in a file only the content of the wanted disks is read. The files appear
// under their names when all of it was good; until then they have none, or a temporary one that goes away
// with any error. Existing files are never written into.
#pragma once

#include <string>
#include <vector>

#include "access/archive_index.hpp"
#include "base/task.hpp"
#include "codec/archive_source.hpp"

namespace vmad::repack {

struct ExtractOptions {
    base::TaskOptions task;
    std::vector<std::string> devices;  ///< only these disks, and no configs; empty: everything
    bool force = false;                ///< existing files are replaced
    access::IndexOptions index{};      ///< how disks are found in the archive, if only some are wanted
};

struct ExtractResult {
    std::vector<std::string> files;  ///< names in the directory, disks first
    std::uint64_t size_bytes = 0;    ///< of all files, holes included
    std::uint64_t written_bytes = 0;
};

/// `source_file` is what `source` reads from, or null when that is a stream. Writes disk-NAME.raw for each
/// device, sparse, and each config under its name, mode 0600, into `directory`, which is made when it is
/// missing, and then removed again if no file is left in it. A device may be named without its "drive-".
/// Throws base::UsageError for a device that the archive does not have and for a file that exists,
/// base::FormatError, also for names that are no file names, base::Unsupported, io::NoSpace,
/// base::SystemError, base::Cancelled.
[[nodiscard]] ExtractResult extract(io::FileSystem& fs, codec::ArchiveSource& source,
                                    const io::File* source_file, const std::string& directory,
                                    const ExtractOptions& options);

}  // namespace vmad::repack
