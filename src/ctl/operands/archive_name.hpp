// The archive that a word of the command line means: a path, or a Proxmox volume id; and its absolute path.
#pragma once

#include <string>

#include "ctl/text/console.hpp"
#include "io/file_system.hpp"

namespace vmad::ctl {

struct ArchiveName {
    std::string path;     ///< as it was written; absolute for a volume id
    std::string storage;  ///< Proxmox's name for it; empty for a path
};

/// "local:backup/NAME" is a volume id, unless there is a file of that name: "./local:backup/NAME" is a path
/// whatever there is. What storage.cfg has that makes no sense is written to the console once. Throws
/// base::Error when the storages cannot be read or this one makes no sense, and base::UsageError when there
/// is no such storage or it holds no files, or the volume is no backup.
[[nodiscard]] ArchiveName archive_name(io::FileSystem& fs, Console& console, const std::string& word);

/// Symbolic links stay as they are named, so that the path stays below the directory that the administrator
/// configured; but for what stands before a "..", which only the file system can say the parent of. Throws
/// base::SystemError when that is not there, base::UsageError for an empty path.
[[nodiscard]] std::string absolute_path(const std::string& path);

}  // namespace vmad::ctl
