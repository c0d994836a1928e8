#include <doctest/doctest.h>

#include "io/mount_table.hpp"
#include "io/storage.hpp"
#include "support/pretended_mount.hpp"

using namespace vmad;
using namespace vmad::io;
using vmad::support::PretendedMount;
using vmad::support::TemporaryDirectory;

TEST_CASE("which types of mounts are shared between machines") {
    for (const char* type :
         {"nfs", "nfs4", "cifs", "smb3", "ceph", "fuse.ceph", "fuse.ceph-fuse", "fuse.glusterfs",
          "fuse.sshfs", "glusterfs", "ocfs2", "gfs2", "beegfs", "lustre"})
        CHECK(is_network_type(type));
    for (const char* type : {"", "ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "fuse", "fuseblk",
                             "fuse.ntfs-3g", "nfsd", "NFS", "nfs4 ", "vfat"})
        CHECK_FALSE(is_network_type(type));
}

TEST_CASE("a file is on the network when its file system is mounted so, by whatever path it was opened") {
    const TemporaryDirectory storage;
    const TemporaryDirectory elsewhere;
    std::filesystem::create_directory_symlink(storage.path(), elsewhere / "link");
    PretendedMount fs;
    const auto directory = fs.open(elsewhere / "link", O_RDONLY | O_DIRECTORY);
    for (const auto& [type, is_network] :
         {std::pair{"nfs4", true}, {"ext4", false}, {"fuse.sshfs", true}, {"", false}}) {
        CAPTURE(type);
        fs.pretend(storage.path(), type);
        CHECK(is_on_network(fs, directory) == is_network);
    }
    const auto other = fs.open("/proc", O_RDONLY | O_DIRECTORY);
    fs.pretend(storage.path(), "nfs4");
    CHECK_FALSE(is_on_network(fs, other));
}

namespace {

class PretendedType final : public PretendedMount {
  public:
    std::uint64_t shown = 0;
    std::uint64_t type(const File&) override { return shown; }
};

}  // namespace

TEST_CASE("NFS, CIFS and what is not known do not tell who writes") {
    constexpr std::uint64_t kCifs = 0xff534d42;
    constexpr std::uint64_t kUnknown = 0x12345678;
    struct Row {
        std::uint64_t type;
        const char* mount;
        bool tells;
    };
    const Row rows[] = {
        {EXT4_SUPER_MAGIC, "ext4", true},
        {TMPFS_MAGIC, "tmpfs", true},
        {FUSE_SUPER_MAGIC, "fuse.mergerfs", true},
        {FUSE_SUPER_MAGIC, "fuse.sshfs", false},
        {NFS_SUPER_MAGIC, "nfs4", false},
        {kCifs, "cifs", false},
        {kUnknown, "unknown", false},
    };
    const TemporaryDirectory storage;
    PretendedType fs;
    const auto directory = fs.open(storage.path(), O_RDONLY | O_DIRECTORY);
    for (const auto& row : rows) {
        CAPTURE(row.mount);
        fs.pretend(storage.path(), row.mount);
        fs.shown = row.type;
        CHECK(tells_writers(fs, directory) == row.tells);
    }
}

TEST_CASE("the table of this machine has the numbers that stat shows") {
    FileSystem fs;
    const auto file = fs.open("/proc/self/status", O_RDONLY);
    const auto mounts = MountTable::read(fs);
    const auto* mount = mounts.find_device(fs.status(file).st_dev);
    REQUIRE(mount != nullptr);
    CHECK(mount->type == "proc");
    CHECK(mounts.find_device(makedev(4095, 1)) == nullptr);
}

namespace {

/// Shows /sys as a test has written it, and everything on the first partition of the first disk.
class PretendedSysfs final : public PretendedMount {
  public:
    TemporaryDirectory sys{TemporaryDirectory::fast_base()};

    struct stat status(const File& file) override {
        auto status = PretendedMount::status(file);
        status.st_dev = makedev(8, 1);
        return status;
    }
    File open(const std::string& path, int flags, mode_t mode = 0) override {
        return PretendedMount::open(path.starts_with("/sys/") ? sys.path() + path.substr(4) : path, flags,
                                    mode);
    }
};

}  // namespace

TEST_CASE("a disk rotates unless the kernel says that it does not") {
    const TemporaryDirectory storage;
    PretendedSysfs fs;
    const auto directory = fs.open(storage.path(), O_RDONLY | O_DIRECTORY);
    const auto disk = fs.sys / "devices/disk";
    std::filesystem::create_directories(disk + "/partition");
    std::filesystem::create_directories(disk + "/queue");
    std::filesystem::create_directories(fs.sys / "dev/block");
    const auto link = fs.sys / "dev/block/8:1";

    CHECK_FALSE(is_on_solid_state(fs, directory));
    for (const auto* place : {"/partition", ""}) {
        CAPTURE(place);
        std::filesystem::remove(link);
        std::filesystem::create_directory_symlink(disk + place, link);
        fs.sys.write("devices/disk/queue/rotational", "1\n");
        CHECK_FALSE(is_on_solid_state(fs, directory));
        fs.sys.write("devices/disk/queue/rotational", "0\n");
        CHECK(is_on_solid_state(fs, directory));
        fs.sys.write("devices/disk/queue/rotational", "");
        CHECK_FALSE(is_on_solid_state(fs, directory));
    }
}

TEST_CASE("what lies on no block device is not on a solid-state disk") {
    FileSystem fs;
    CHECK_FALSE(is_on_solid_state(fs, fs.open("/proc/self/status", O_RDONLY)));
}
