// The backup of a guest before another one: the newest earlier one in its directory that is canonical, with
// the checksums of its regions.
//
// By the times in the names. Archives are opened read-only, and nothing in a name or a file is trusted. Any
// thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "access/checksum_store.hpp"
#include "base/task.hpp"
#include "io/file_system.hpp"

namespace vmad::repack {

struct BackupBefore {
    std::string name;  ///< in the directory
    io::File file;
    std::vector<access::DiskChecksums> checksums;
};

struct BackupBeforeOptions {
    const access::ChecksumStore* store = nullptr;  ///< may be null
    /// A raw archive that the store does not have may be read for it when it has no more bytes.
    std::uint64_t may_read_bytes = 0;
};

/// Of the backup `name` in `directory`. Nothing when there is none, or nothing is known of it without reading
/// more than may be read. Throws base::SystemError, base::Cancelled.
[[nodiscard]] std::optional<BackupBefore> find_backup_before(io::FileSystem& fs, const io::File& directory,
                                                             const std::string& name,
                                                             const BackupBeforeOptions& options,
                                                             const base::CancelFlag& cancel);

}  // namespace vmad::repack
