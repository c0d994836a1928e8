// The storage below a file: how much room it has for a copy beside the original, without being filled to its
// last block, and what it is, as far as /proc and /sys say: a file system that other machines see too, a disk
// that rotates.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "io/file_system.hpp"

namespace vmad::io {

/// What is left free by default: 5 % of the file system, at most 1 GiB. 0 where it does not report its size.
[[nodiscard]] std::uint64_t default_reserve(FileSystem& fs, const File& on);

/// What the file system shows as free; nothing where it does not report its size.
[[nodiscard]] std::optional<std::uint64_t> free_bytes(FileSystem& fs, const File& on);

/// Throws NoSpace unless `more_bytes` fit on the file system of `on` with `reserve_bytes` left free. File
/// systems that do not report their size always have room.
void require_space(FileSystem& fs, const File& on, std::uint64_t more_bytes, std::uint64_t reserve_bytes);

/// True when a file on the file system of `file` keeps its inode number through renames and mounts, and has
/// one for all its hard links. Known of local disks and of NFS; false for what a FUSE program, CIFS or FAT
/// makes up, and for what is not known.
[[nodiscard]] bool keeps_inode_numbers(FileSystem& fs, const File& file);

/// True when `file` lies on XFS or btrfs, with blocks of at most 4096 bytes: whether this one shares blocks,
/// which an XFS of an old format does not, the first attempt tells (FileSystem::share_range()).
[[nodiscard]] bool may_share_blocks(FileSystem& fs, const File& file);

/// True when an extent of `file` takes its whole room as long as any part of it is used: on btrfs.
[[nodiscard]] bool keeps_whole_extents(FileSystem& fs, const File& file);

/// True for the types of mounts that several machines share: "nfs4", "cifs", "fuse.sshfs", …
[[nodiscard]] bool is_network_type(std::string_view mount_type) noexcept;

/// True when `file` lies on a mount of such a type, by whatever path it was opened: then somebody elsewhere
/// may be reading it, and nobody here can know. Throws base::Error when the table of mounts cannot be read.
[[nodiscard]] bool is_on_network(FileSystem& fs, const File& file);

/// True when the kernel refuses a lease on `file` (FileSystem::try_lease()) for nothing but a process of this
/// node that has it open for writing: on local file systems and on FUSE. NFS and CIFS refuse it whenever the
/// server has not granted what they need for it, and what others do is not known.
[[nodiscard]] bool tells_writers(FileSystem& fs, const File& file);

/// True when the kernel knows that the block device below `file` does not rotate (queue/rotational in
/// Documentation/ABI/stable/sysfs-block), so that reading and writing at once do not hinder each other. False
/// for all else: disks that rotate, file systems on no block device or on several, and what cannot be found
/// out.
[[nodiscard]] bool is_on_solid_state(FileSystem& fs, const File& file);

}  // namespace vmad::io
