// Which file it is, and whether it is still as it was.
#pragma once

#include <sys/stat.h>

#include <cstdint>

namespace vmad::publish {

/// What a file keeps through renames, links and reboots while nobody writes to it. There is no device number
/// in it, because that of NFS, btrfs and device mapper may change with a reboot: marks are compared only
/// between entries of one directory, where an inode number means one file.
struct FileMark {
    std::uint64_t inode = 0;
    std::uint64_t size_bytes = 0;
    /// Nanoseconds since the epoch; wraps after the year 2262, which is enough to tell two times apart.
    std::int64_t modified_ns = 0;
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
    return {status.st_ino, static_cast<std::uint64_t>(status.st_size), nanoseconds(status.st_mtim)};
}

[[nodiscard]] inline FileIdentity identity_of(const struct stat& status) noexcept {
    return {status.st_dev, mark_of(status), nanoseconds(status.st_ctim)};
}

}  // namespace vmad::publish
