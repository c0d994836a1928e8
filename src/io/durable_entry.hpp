// The steps that make an entry of a directory durable, whatever it is: what durable_file.hpp and
// durable_link.hpp share. Not for others. One thread at a time per name.
#pragma once

#include <functional>
#include <string>

#include "io/file_system.hpp"

namespace vmad::io {

/// `make` makes the entry whose name it gets, as it is to be; then that one replaces `name`. When either
/// throws, the temporary entry is gone. The directory is not synced yet.
void replace_entry(FileSystem& fs, const File& directory, const std::string& name,
                   const std::function<void(const std::string&)>& make);

/// Syncs the directory. When that fails, nobody knows which state a power cut would leave, so `put_back`
/// makes the entry what the caller still believes it to be, as far as a failing disk allows, and the first
/// failure is thrown.
void sync_or_put_back(FileSystem& fs, const File& directory, const std::function<void()>& put_back);

}  // namespace vmad::io
