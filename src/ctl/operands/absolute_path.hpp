// The path of an archive as the daemon wants it: whole, whatever the caller's directory is.
#pragma once

#include <string>

namespace vmad::ctl {

/// Symbolic links stay as they are named, so that the path stays below the directory that the administrator
/// configured; but for what stands before a "..", which only the file system can say the parent of. Throws
/// base::SystemError when that is not there, base::UsageError for an empty path.
[[nodiscard]] std::string absolute_path(const std::string& path);

}  // namespace vmad::ctl
