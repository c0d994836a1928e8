// A directory of files that are kept to spare reading archives once more, and that may be lost at any time.
// What somebody else could have written is ignored. Any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "io/file_system.hpp"

namespace vmad::access {

/// Opens the directory, and makes it and the one above it where they are missing. Throws base::Error when
/// others can write to it, base::SystemError.
[[nodiscard]] io::File make_kept_directory(io::FileSystem& fs, const std::string& path);

/// Opens a file, which counts as used now. Nothing when it, or the directory, is not there or not ours.
/// Throws base::SystemError.
[[nodiscard]] std::optional<io::File> open_kept_file(io::FileSystem& fs, const std::string& directory,
                                                     const std::string& name);

struct KeptLimits {
    std::size_t max_files = SIZE_MAX;
    std::uint64_t max_bytes = 0;
    bool keeps_newest = false;  ///< however large it is
};

/// Removes the longest unused of the files whose names `is_kept` accepts, and what a process that was killed
/// has left in the making. Throws base::SystemError.
void remove_oldest(io::FileSystem& fs, const io::File& directory,
                   const std::function<bool(const std::string& name)>& is_kept, const KeptLimits& limits);

}  // namespace vmad::access
