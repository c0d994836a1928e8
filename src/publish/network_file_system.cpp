#include "publish/network_file_system.hpp"

#include <algorithm>
#include <array>

#include "io/mount_table.hpp"

namespace vmad::publish {

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

bool is_on_network(io::FileSystem& fs, const io::File& file) {
    // By the number of the file system, not by the path: a configured directory may be a link to a share.
    const auto mounts = io::MountTable::read(fs);
    const auto* mount = mounts.find_device(fs.status(file).st_dev);
    return mount != nullptr && is_network_type(mount->type);
}

}  // namespace vmad::publish
