// Symbolic links that are replaced or removed durably, as durable_file.hpp has it for files: what a call
// promises holds after a power cut once it has returned, and when it throws, the entry is as it was. One
// thread at a time per name.
#pragma once

#include <string>

#include "io/file_system.hpp"

namespace vmad::io {

/// Makes the entry `name` a symbolic link to `target`, whether it was there or not. Throws base::SystemError,
/// and base::Error when it is something else than a link.
void write_link_durably(FileSystem& fs, const File& directory, const std::string& name,
                        const std::string& target);

/// Removes a link; false when there was none, or it is something else. Throws base::SystemError.
bool remove_link_durably(FileSystem& fs, const File& directory, const std::string& name);

}  // namespace vmad::io
