// A file in the state directory that makes no sense, and how it is put out of the way: renamed, never
// deleted, so that somebody can look at it.
#pragma once

#include <string>
#include <string_view>

#include "io/file_system.hpp"

namespace vmad::queue {

/// For the log.
struct BadFile {
    std::string name;  ///< as it was, without the directory
    std::string reason;
    friend bool operator==(const BadFile&, const BadFile&) = default;
};

/// Renames an entry to NAME.bad, or NAME.1.bad and so on where that is taken. Throws base::SystemError.
void set_aside(io::FileSystem& fs, const io::File& directory, const std::string& name);

/// True for the names that set_aside gives.
[[nodiscard]] bool is_set_aside(std::string_view name) noexcept;

}  // namespace vmad::queue
