// Which file it is, and whether it is still as it was.
//
// Most file systems number their files for good. Many of those that a program or a server presents (FUSE,
// CIFS, FAT) do not: a number may change with a mount or a rename, or be another for each hard link. There a
// file is told by its content.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <string>

#include <fmt/format.h>

#include "io/file_system.hpp"

namespace vmad::publish {

/// What a mark tells a file by, beside its size and time.
enum class MarkBy {
    inode,
    content,  ///< its first and last bytes: where numbers do not last
};

/// What a file keeps through renames, links, mounts and reboots while nobody writes to it. There is no device
/// number in it, because that of NFS, btrfs and device mapper may change with a reboot: marks are compared
/// only between entries of one directory, where an inode number means one file.
struct FileMark {
    std::uint64_t inode = 0;  ///< 0 by content
    std::uint64_t size_bytes = 0;
    /// Nanoseconds since the epoch; wraps after the year 2262, which is enough to tell two times apart.
    std::int64_t modified_ns = 0;
    std::uint64_t content = 0;  ///< 0 by inode, never by content
    friend bool operator==(const FileMark&, const FileMark&) = default;
};

/// Equal identities are the same file, unchanged, its metadata and names included. Holds until a reboot.
struct FileIdentity {
    std::uint64_t device = 0;
    FileMark mark;
    /// The time of the last change of content, metadata or links.
    std::int64_t changed_ns = 0;
    friend bool operator==(const FileIdentity&, const FileIdentity&) = default;
};

[[nodiscard]] inline std::int64_t nanoseconds(const timespec& time) noexcept {
    return static_cast<std::int64_t>(static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000 +
                                     static_cast<std::uint64_t>(time.tv_nsec));
}

[[nodiscard]] inline FileMark mark_of(const struct stat& status) noexcept {
    return {.inode = status.st_ino,
            .size_bytes = static_cast<std::uint64_t>(status.st_size),
            .modified_ns = nanoseconds(status.st_mtim)};
}

/// The mark of an open file with this status. By content, it reads the first and the last 64 KiB, which
/// differ in any two backups: in the header are the time of the backup and, as vzdump wrote it, a random
/// uuid.
[[nodiscard]] FileMark mark_of(io::FileSystem& fs, const io::File& file, const struct stat& status,
                               MarkBy by);

[[nodiscard]] inline FileIdentity identity_of(const struct stat& status) noexcept {
    return {status.st_dev, mark_of(status), nanoseconds(status.st_ctim)};
}

/// Who may do what with a file.
struct FileAccess {
    std::uint64_t mode = 0;  ///< the type of the file included
    std::uint64_t owner = 0;
    std::uint64_t group = 0;
    friend bool operator==(const FileAccess&, const FileAccess&) = default;
};

[[nodiscard]] inline FileAccess access_of(const struct stat& status) noexcept {
    return {.mode = status.st_mode, .owner = status.st_uid, .group = status.st_gid};
}

/// The version of a file at its path, as opaque text: equal as long as nobody has written to it, replaced it,
/// or changed its metadata or links. No inode number is in it: on FUSE and CIFS the same file has another one
/// after a while, and where numbers are kept, the time of the last change tells as much.
[[nodiscard]] inline std::string file_version(const FileIdentity& file) {
    return fmt::format("{}-{}-{}", file.mark.size_bytes, file.mark.modified_ns, file.changed_ns);
}

}  // namespace vmad::publish
