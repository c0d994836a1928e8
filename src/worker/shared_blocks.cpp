#include "worker/shared_blocks.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/error.hpp"
#include "publish/archive_target.hpp"
#include "publish/inode_lock.hpp"
#include "pve/backup_name.hpp"
#include "repack/block_sharing.hpp"

namespace vmad::worker {
namespace {

using repack::SharingOutcome;

/// Backups that were not repacked may come between: so many are looked at.
constexpr std::size_t kMaxLooks = 16;

/// Nothing when it is no regular file.
std::optional<io::File> open_archive(io::FileSystem& fs, const io::File& directory, const std::string& name) {
    auto file = fs.open_at(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (!S_ISREG(fs.status(file).st_mode)) return std::nullopt;
    return file;
}

/// Nothing when this is none to share with: another one may be. What cannot be read is none.
std::optional<repack::BlockSharingResult> try_to_share(io::FileSystem& fs, const publish::ArchiveEntry& entry,
                                                       const std::string& other, const io::File& archive,
                                                       const SharedBlocksOptions& options) try {
    const auto before = open_archive(fs, entry.directory, other);
    if (!before) return std::nullopt;
    const auto result = repack::share_blocks(
        fs, entry.directory, *before, archive,
        {.task = options.task, .store = &options.store, .reserve_bytes = options.reserve_bytes});
    if (result.outcome == SharingOutcome::older_unsuitable || result.outcome == SharingOutcome::other_format)
        return std::nullopt;
    return result;
} catch (const base::InvalidArchive&) {
    return std::nullopt;
} catch (const base::Unsupported&) {
    return std::nullopt;
} catch (const base::SystemError& error) {
    if (error.number() == ENOENT || error.number() == ELOOP || error.number() == ENXIO) return std::nullopt;
    throw;
}

}  // namespace

std::optional<SharedBlocks> share_with_backup_before(io::FileSystem& fs, const std::string& path,
                                                     const SharedBlocksOptions& options) {
    const auto entry = publish::open_entry(fs, path, options.directories);
    auto earlier = pve::earlier_backups(fs.entries(entry.directory), entry.name);
    if (earlier.empty()) return std::nullopt;
    if (earlier.size() > kMaxLooks) earlier.resize(kMaxLooks);
    const auto archive = open_archive(fs, entry.directory, entry.name);
    if (!archive) return std::nullopt;
    const auto lock =
        publish::InodeLock::take(fs, options.lock_directory, publish::identity_of(fs.status(*archive)));
    if (!lock) return std::nullopt;
    for (const auto& other : earlier) {
        const auto result = try_to_share(fs, entry, other, *archive, options);
        if (!result) continue;
        const auto bytes = result->shared_bytes + result->shared_before_bytes;
        if (result->outcome != SharingOutcome::shared && bytes == 0) return std::nullopt;
        return SharedBlocks{other, bytes};
    }
    return std::nullopt;
}

}  // namespace vmad::worker
