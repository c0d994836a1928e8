// Finds archives by their names.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "io/file_system.hpp"

namespace vmad::ctl {

struct FoundArchive {
    std::string path;
    std::uint64_t size_bytes = 0;
    std::int64_t modified_ns = 0;  ///< since the epoch
};

/// Where to look, and Proxmox's name for it, or none.
struct SearchPlace {
    std::string path;
    std::string storage;
};

/// True for a name that ends as vzdump's archives do (pve::kArchiveEndings), and is not hidden.
[[nodiscard]] bool is_archive_name(std::string_view name) noexcept;

/// Calls `on_found`, in no order, for each regular file below the directory `path` that is named like an
/// archive. Goes into every directory below it but hidden ones, recycle bins and snapshots, and neither
/// through symbolic links nor into other file systems. When `path` is a regular file, that is found, whatever
/// its name. What cannot be read is reported to `on_error`, as a sentence that names it, and the rest is
/// searched.
void find_archives(io::FileSystem& fs, const std::string& path,
                   const std::function<void(FoundArchive)>& on_found,
                   const std::function<void(const std::string&)>& on_error);

}  // namespace vmad::ctl
