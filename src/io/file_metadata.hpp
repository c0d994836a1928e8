// What a file carries beside its content, given to the file that takes its place.
#pragma once

#include <map>
#include <string>

#include "io/file_system.hpp"

namespace vmad::io {

/// Extended attributes by name, "user." included.
using Attributes = std::map<std::string, std::string>;

/// Gives `to` the owner, the POSIX ACL and the mode of `from`. Sets only what differs, so that an
/// unprivileged user may copy what he owns. Throws when one cannot be set: the file would be open to others
/// than before, or closed to those who need it.
void copy_access(FileSystem& fs, const File& from, const File& to);

/// Throws what copy_access() and setting the time of `from` would throw, before any work is put into `to`: a
/// new, empty file, which keeps its mode.
void require_settable_metadata(FileSystem& fs, const File& from, const File& to);

/// copy_access(), and the `user.*` attributes of `from`, and `extra`, which wins over them. Attributes are
/// notes: one that cannot be read or set, for whatever reason, is left out.
void copy_metadata(FileSystem& fs, const File& from, const File& to, const Attributes& extra);

}  // namespace vmad::io
