// Small files and symbolic links that are replaced or removed as a whole, and durably: the job files of the
// spool, for example.
//
// What a call promises holds after a crash or a power cut once the call has returned. When it throws, the
// entry is as it was; a process that is killed in between may leave a temporary file, which
// is_temporary_name() knows, and remove_stale() removes. Not for archives. One thread at a time per name.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "io/file_system.hpp"

namespace vmad::io {

/// Called with a file in the making that has its content already: to change its mode, for example.
using SetAttributes = std::function<void(const File&)>;

/// Makes `content` the content of the entry `name`, whether it was there or not. Readers see the old content
/// or the new, never a part. It is a new file with mode 0600 and nothing of what the old one carried, unless
/// `set_attributes` gives it that; it may be called again for the old content. Throws base::SystemError.
void write_durably(FileSystem& fs, const File& directory, const std::string& name, std::string_view content,
                   const SetAttributes& set_attributes = {});

/// Removes an entry; false when there was none. Throws base::SystemError.
bool remove_durably(FileSystem& fs, const File& directory, const std::string& name);

/// Makes the entry `name` a symbolic link to `target`, whether it was there or not. Throws base::SystemError,
/// and base::Error when it is something else than a link.
void write_link_durably(FileSystem& fs, const File& directory, const std::string& name,
                        const std::string& target);

/// Removes a link; false when there was none, or it is something else. Throws base::SystemError.
bool remove_link_durably(FileSystem& fs, const File& directory, const std::string& name);

/// Removes what such a call has left in the directory that was killed, once it is a day old: nobody writes it
/// any more. What cannot be removed stays; it is in nobody's way.
void remove_stale(FileSystem& fs, const File& directory) noexcept;

/// The whole content of an open file from its start. Throws base::Error that names the file when it holds
/// more than `limit_bytes`, whatever size stat reports (files in /proc have none).
[[nodiscard]] std::string read_small_file(FileSystem& fs, const File& file, std::size_t limit_bytes);

/// The same for an entry of a directory; nothing when there is none. Never blocks: throws base::Error when
/// the entry is not a regular file.
[[nodiscard]] std::optional<std::string> read_small_file(FileSystem& fs, const File& directory,
                                                         const std::string& name, std::size_t limit_bytes);

}  // namespace vmad::io
