// What of an archive its guest's backup before does not have: told by the checksums of regions, so neither is
// read for it, but for small parts. One thread; forks while it runs.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "access/checksum_store.hpp"
#include "api/job.hpp"
#include "base/task.hpp"
#include "io/file_system.hpp"

namespace vmad::worker {

struct NewSinceOptions {
    std::vector<std::string> directories;  ///< the archive must be below one of them
    const access::ChecksumStore& store;
    /// Small parts may be read: where partitions are, and a backup before of which the store has lost the
    /// checksums, when it has no more bytes. 0: nothing but seek tables and headers.
    std::uint64_t may_read_bytes = 0;
};

/// Nothing when there is no backup before, or one of the two has no checksums. Throws what the reading
/// throws, base::Cancelled too: whatever it is, the archive is as good as without.
[[nodiscard]] std::optional<api::NewSince> new_since(io::FileSystem& fs, const std::string& path,
                                                     const NewSinceOptions& options,
                                                     const base::CancelFlag& cancel);

}  // namespace vmad::worker
