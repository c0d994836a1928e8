// Which mount a path lies on, read from /proc/self/mountinfo (proc_pid_mountinfo(5)) alone.
//
// Nothing here touches the storage itself: no stat, no open, so a hung share cannot hang the caller. The
// price is that paths are taken literally: absolute, without "..", symbolic links not followed. A table is
// what was mounted when it was read; immutable after that, so any thread may ask it.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "io/file_system.hpp"

namespace vmad::io {

struct Mount {
    std::string mount_point;  ///< absolute, without a slash at its end but for "/"
    std::string device;       ///< "MAJOR:MINOR": the same for every mount of one file system
    std::string type;         ///< "ext4", "nfs4", …
    std::string source;       ///< "/dev/sda1", "server:/export", …
    friend bool operator==(const Mount&, const Mount&) = default;
};

class MountTable {
  public:
    /// Throws base::SystemError, or base::Error that names the line when one makes no sense.
    static MountTable read(FileSystem& fs, const std::string& path = "/proc/self/mountinfo");

    /// The mount that an absolute path lies on, whether or not the path exists: the one with the longest
    /// mount point by whole components, but none that a later mount over it or over a parent of it hides.
    /// Null when nothing is mounted there, which happens only in a chroot. Lives as long as the table.
    [[nodiscard]] const Mount* find(std::string_view absolute_path) const;
    /// A mount of the file system with this number (st_dev), the last one. Null when it is mounted nowhere.
    /// Some file systems, btrfs for one, show other numbers in st_dev than here.
    [[nodiscard]] const Mount* find_device(dev_t device) const;

  private:
    struct Entry {
        int id;
        int parent;  ///< the id of the mount that this one is mounted on, or kNoParent
        Mount mount;
    };
    static Entry parse_line(const std::string& line);
    [[nodiscard]] const Entry* mounted_on(int parent, std::string_view mount_point) const;

    std::vector<Entry> entries_;
};

}  // namespace vmad::io
