// What a file carries beside its content, given to the file that takes its place.
#pragma once

#include <map>
#include <string>

#include "io/file_system.hpp"

namespace vmad::io {

/// Extended attributes by name, "user." included.
using Attributes = std::map<std::string, std::string>;

/// Gives `to` the owner, the mode, the POSIX ACL and the `user.*` attributes of `from`, and `extra`, which
/// wins over attributes of `from`. Sets only what differs, so that an unprivileged user may copy what he
/// owns. Throws when owner, mode or ACL cannot be had: the file would be open to others than before, or
/// closed to those who need it. `user.*` attributes are left out where the file system has none or has no
/// room for one of `extra`.
void copy_metadata(FileSystem& fs, const File& from, const File& to, const Attributes& extra);

}  // namespace vmad::io
