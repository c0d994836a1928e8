// Whether a backup run is under way, read off the lock that vzdump holds from before its first hook call
// until after its last.
//
// The lock is looked up in /proc/locks, never taken: even a moment's shared lock of ours could make a vzdump
// fail that does not wait. No storage is touched. Any thread.
#pragma once

#include <cstdint>
#include <string_view>

#include "io/file_system.hpp"

namespace vmad::pve {

/// A file as /proc/locks names it.
struct LockedFile {
    unsigned major = 0;
    unsigned minor = 0;
    std::uint64_t inode = 0;
    friend bool operator==(const LockedFile&, const LockedFile&) = default;
};

/// True when a line of `locks`, the text of /proc/locks (proc_locks(5)), is a flock(2) on `file`, held or
/// waited for. Lines that make no sense are no locks.
[[nodiscard]] bool has_flock(std::string_view locks, const LockedFile& file);

/// True while somebody holds /run/vzdump.lock (base::system_path). False when there is no such file. Throws
/// base::SystemError.
[[nodiscard]] bool vzdump_runs(io::FileSystem& fs);

}  // namespace vmad::pve
