#include "io/storage.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string>

#include <fmt/format.h>

#include "base/integers.hpp"
#include "base/units.hpp"
#include "io/durable_entry.hpp"
#include "io/mount_table.hpp"

namespace vmad::io {
namespace {

constexpr std::uint64_t kReservedPart = 20;  // one in 20 is 5 %
constexpr std::uint64_t kMaxReserveBytes = std::uint64_t{1} << 30;
// From linux/magic.h, but for those that are not in every one.
constexpr std::uint64_t kXfs = 0x58465342, kCeph = 0x00c36400, kGfs2 = 0x01161970, kZfs = 0x2fc12fc1,
                        kJfs = 0x3153464a, kOcfs2 = 0x7461636f, kBcachefs = 0xca451a4e;

/// Blocks times block size; a sum beyond all numbers is as good as the largest.
std::uint64_t size_of(std::uint64_t blocks, const struct statvfs& space) {
    return base::checked_multiply<std::uint64_t>(blocks, space.f_frsize).value_or(UINT64_MAX);
}

/// The directory of sysfs for the block device below a file. Nothing when there is no single one.
std::optional<std::string> block_device_directory(FileSystem& fs, const File& file) {
    const auto device = fs.status(file).st_dev;
    if (major(device) != 0) return fmt::format("/sys/dev/block/{}:{}", major(device), minor(device));
    // btrfs has numbers of its own, but names the device that it was mounted from.
    const auto mounts = MountTable::read(fs);
    const auto* mount = mounts.find(fs.real_path(file));
    constexpr std::string_view kDevices = "/dev/";
    if (mount == nullptr || !mount->source.starts_with(kDevices)) return std::nullopt;
    const auto name = mount->source.substr(kDevices.size());
    if (name.find('/') != name.npos) return std::nullopt;
    return "/sys/class/block/" + name;
}

/// The first character of a small file; nothing when it cannot be read.
std::optional<char> first_character(FileSystem& fs, const std::string& path) {
    constexpr std::size_t kLimitBytes = 4096;
    try {
        const auto text = read_small_file(fs, fs.open(path, O_RDONLY), kLimitBytes);
        return text.empty() ? std::nullopt : std::optional(text.front());
    } catch (const base::Error&) {
        return std::nullopt;
    }
}

}  // namespace

std::uint64_t default_reserve(FileSystem& fs, const File& on) {
    const auto space = fs.space(on);
    return std::min(size_of(space.f_blocks, space) / kReservedPart, kMaxReserveBytes);
}

std::optional<std::uint64_t> free_bytes(FileSystem& fs, const File& on) {
    const auto space = fs.space(on);
    if (space.f_blocks == 0) return std::nullopt;
    return size_of(space.f_bavail, space);
}

void require_space(FileSystem& fs, const File& on, std::uint64_t more_bytes, std::uint64_t reserve_bytes) {
    const auto available = free_bytes(fs, on);
    if (!available) return;
    const auto needed = base::checked_add(more_bytes, reserve_bytes).value_or(UINT64_MAX);
    if (*available >= needed) return;
    throw NoSpace(fmt::format("too little space in {}: {} are needed and {} kept free, {} are available",
                              on.path(), base::format_size(more_bytes), base::format_size(reserve_bytes),
                              base::format_size(*available)),
                  ENOSPC, on.path());
}

bool keeps_inode_numbers(FileSystem& fs, const File& file) {
    static constexpr std::array kKeeping{
        std::uint64_t{EXT4_SUPER_MAGIC},
        kXfs,
        std::uint64_t{BTRFS_SUPER_MAGIC},
        kZfs,
        std::uint64_t{F2FS_SUPER_MAGIC},
        kBcachefs,
        kJfs,
        std::uint64_t{REISERFS_SUPER_MAGIC},
        std::uint64_t{NILFS_SUPER_MAGIC},
        std::uint64_t{TMPFS_MAGIC},
        std::uint64_t{RAMFS_MAGIC},
        std::uint64_t{OVERLAYFS_SUPER_MAGIC},
        std::uint64_t{NFS_SUPER_MAGIC},
        kCeph,
        kGfs2,
        kOcfs2,
    };
    return std::find(kKeeping.begin(), kKeeping.end(), fs.type(file)) != kKeeping.end();
}

bool may_share_blocks(FileSystem& fs, const File& file) {
    constexpr unsigned kPageBytes = 4096;
    const auto type = fs.type(file);
    if (type != kXfs && type != BTRFS_SUPER_MAGIC) return false;
    const auto block_bytes = fs.space(file).f_bsize;
    return block_bytes != 0 && kPageBytes % block_bytes == 0;
}

bool keeps_whole_extents(FileSystem& fs, const File& file) { return fs.type(file) == BTRFS_SUPER_MAGIC; }

bool is_network_type(std::string_view mount_type) noexcept {
    // What FUSE programs call themselves varies: fuse.ceph, fuse.ceph-fuse.
    if (mount_type.starts_with("fuse.ceph")) return true;
    static constexpr std::array<std::string_view, 20> kTypes{
        "nfs",      "nfs4",    "cifs",           "smb3",       "smbfs",    "ceph",         "9p",
        "afs",      "ocfs2",   "gfs2",           "lustre",     "beegfs",   "gpfs",         "glusterfs",
        "orangefs", "moosefs", "fuse.glusterfs", "fuse.sshfs", "fuse.mfs", "fuse.juicefs",
    };
    return std::find(kTypes.begin(), kTypes.end(), mount_type) != kTypes.end();
}

bool is_on_network(FileSystem& fs, const File& file) {
    // By the number of the file system, not by the path: a configured directory may be a link to a share.
    const auto mounts = MountTable::read(fs);
    const auto* mount = mounts.find_device(fs.status(file).st_dev);
    return mount != nullptr && is_network_type(mount->type);
}

bool tells_writers(FileSystem& fs, const File& file) {
    const auto type = fs.type(file);
    // The table of mounts lacks what is outside of a chroot, or was unmounted lazily.
    if (type == NFS_SUPER_MAGIC || type == kCeph || type == kGfs2 || type == kOcfs2) return false;
    const bool is_known = keeps_inode_numbers(fs, file) || type == FUSE_SUPER_MAGIC;
    return is_known && !is_on_network(fs, file);
}

bool is_on_solid_state(FileSystem& fs, const File& file) try {
    const auto directory = block_device_directory(fs, file);
    if (!directory) return false;
    // A partition has no queue of its own; the disk is the directory above.
    for (const auto* queue : {"/queue/rotational", "/../queue/rotational"})
        if (const auto rotational = first_character(fs, *directory + queue)) return *rotational == '0';
    return false;
} catch (const base::Error&) {
    return false;  // no table of mounts
}

}  // namespace vmad::io
