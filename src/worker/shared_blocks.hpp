// Lets an archive that was just published share blocks with the newest earlier backup of its guest in the
// directory, where the file system can do that. One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "access/checksum_store.hpp"
#include "base/task.hpp"
#include "io/file_system.hpp"

namespace vmad::worker {

struct SharedBlocksOptions {
    std::vector<std::string> directories;  ///< the archive must be below one of them
    std::string lock_directory;
    const access::ChecksumStore& store;
    std::optional<std::uint64_t> reserve_bytes;  ///< as repack::BlockSharingOptions has it
    base::TaskOptions task;
};

struct SharedBlocks {
    std::string archive;  ///< file name of the backup before
    std::uint64_t bytes = 0;
};

/// With the newest canonical one of the same format. Nothing when there is none, the file system cannot, or
/// another process works on the archive. Throws what the reading throws, base::Cancelled too: whatever it is,
/// the archive is as good as without.
[[nodiscard]] std::optional<SharedBlocks> share_with_backup_before(io::FileSystem& fs,
                                                                   const std::string& path,
                                                                   const SharedBlocksOptions& options);

}  // namespace vmad::worker
