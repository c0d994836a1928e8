#include "publish/network_file_system.hpp"

#include <doctest/doctest.h>

#include "io/mount_table.hpp"
#include "support/pretended_mount.hpp"

using namespace vmad;
using namespace vmad::io;
using namespace vmad::publish;
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

TEST_CASE("the table of this machine has the numbers that stat shows") {
    FileSystem fs;
    const auto file = fs.open("/proc/self/status", O_RDONLY);
    const auto mounts = MountTable::read(fs);
    const auto* mount = mounts.find_device(fs.status(file).st_dev);
    REQUIRE(mount != nullptr);
    CHECK(mount->type == "proc");
    CHECK(mounts.find_device(makedev(4095, 1)) == nullptr);
}
