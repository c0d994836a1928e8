#include "repack/backup_before.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

#include "access/region_cursor.hpp"
#include "base/error.hpp"
#include "codec/archive_format.hpp"
#include "pve/backup_name.hpp"
#include "verify/published_digest.hpp"

namespace vmad::repack {
namespace {

/// Backups that were not repacked may come between: so many are looked at.
constexpr std::size_t kMaxLooks = 16;

/// Nothing when it is gone, or no regular file.
std::optional<io::File> open_archive(io::FileSystem& fs, const io::File& directory,
                                     const std::string& name) try {
    auto file = fs.open_at(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (!S_ISREG(fs.status(file).st_mode)) return std::nullopt;
    return file;
} catch (const base::SystemError& error) {
    if (error.number() == ENOENT || error.number() == ELOOP || error.number() == ENXIO) return std::nullopt;
    throw;
}

/// Whether it is canonical, as far as its first bytes, or the attribute of a gzip or lzo one, say.
bool looks_canonical(io::FileSystem& fs, const io::File& file) {
    switch (codec::format_of_file(fs, file)) {
        case codec::ArchiveFormat::raw:
            return access::RegionCursor::open(fs, file).has_value();
        case codec::ArchiveFormat::zstd:
            return false;  // it has no seek table that says so
        case codec::ArchiveFormat::gzip:
        case codec::ArchiveFormat::lzo:
            return verify::published_digest(fs, file).has_value();
    }
    __builtin_unreachable();
}

}  // namespace

std::optional<BackupBefore> find_backup_before(io::FileSystem& fs, const io::File& directory,
                                               const std::string& name, const BackupBeforeOptions& options,
                                               const base::CancelFlag& cancel) {
    auto earlier = pve::earlier_backups(fs.entries(directory), name);
    if (earlier.size() > kMaxLooks) earlier.resize(kMaxLooks);
    for (auto& other : earlier) try {
            cancel.check();
            auto file = open_archive(fs, directory, other);
            if (!file) continue;
            auto checksums = access::checksums_of(fs, *file, options.store, cancel);
            if (!checksums && !looks_canonical(fs, *file)) continue;
            if (!checksums && static_cast<std::uint64_t>(fs.status(*file).st_size) <= options.may_read_bytes)
                checksums = access::read_raw_checksums(fs, *file, options.store, cancel);
            if (!checksums) return std::nullopt;
            return BackupBefore{std::move(other), std::move(*file), std::move(*checksums)};
        } catch (const base::InvalidArchive&) {
        } catch (const base::Unsupported&) {
        }
    return std::nullopt;
}

}  // namespace vmad::repack
