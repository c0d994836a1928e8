// Lets an archive share blocks with an older backup of the same guest, where the file system can do that: XFS
// and btrfs. The kernel compares what is shared (FIDEDUPERANGE), so the content of neither can change, nor do
// times or attributes; whatever goes wrong, or whenever this is killed, only more room stays taken. One
// thread.
#pragma once

#include <cstdint>
#include <optional>

#include "access/checksum_store.hpp"
#include "base/task.hpp"
#include "io/file_system.hpp"

namespace vmad::repack {

enum class SharingOutcome {
    shared,            ///< what they have in common, as far as it is worth its pieces
    unavailable,       ///< not on this file system, or not with these files: BlockSharingResult::refusal
    older_unsuitable,  ///< the older one is not canonical, or of a format whose regions cannot be found
    newer_unsuitable,  ///< the same of the newer one
    other_format,      ///< one is raw, the other one compressed
};

struct BlockSharingOptions {
    base::TaskOptions task;  ///< reports Stage::sharing, in bytes of the newer archive
    bool dry_run = false;    ///< only finds out what could be shared
    /// May have the checksums of raw archives: then less has to be read. May be null.
    const access::ChecksumStore* store = nullptr;
    /// To be left free beside the archive: io::default_reserve() when not given.
    std::optional<std::uint64_t> reserve_bytes;
};

struct BlockSharingResult {
    SharingOutcome outcome = SharingOutcome::shared;
    int refusal = 0;                 ///< of unavailable: an errno value, or 0: the file system has no sharing
    std::uint64_t shared_bytes = 0;  ///< by this run
    std::uint64_t shared_before_bytes = 0;  ///< with the same archive, before
};

/// `older` and `newer` are archives in `directory` and on its file system, open for reading: a file that is
/// removed or replaced meanwhile does no harm. Reads what the two may have in common, or lets the kernel read
/// it. Throws io::NoSpace, base::SystemError, base::FormatError, base::Unsupported, base::Cancelled.
[[nodiscard]] BlockSharingResult share_blocks(io::FileSystem& fs, const io::File& directory,
                                              const io::File& older, const io::File& newer,
                                              const BlockSharingOptions& options);

}  // namespace vmad::repack
