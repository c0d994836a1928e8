// Paths as text, without a look at the file system: their one spelling, their parts, and which lie below a
// directory. Any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace vmad::base {

/// The names on the way, without empty ones and ".". What ".." stands for only the file system can say: it
/// stays.
[[nodiscard]] std::vector<std::string> path_components(std::string_view path);

/// True when a component of the path is `name`, for example "..".
[[nodiscard]] bool has_component(std::string_view path, std::string_view name) noexcept;

/// An absolute path without doubled slashes, "." components and a slash at its end; any other path as it is.
[[nodiscard]] std::string normal_path(std::string_view path);

/// The one rule for "below a configured directory": both are absolute, and the components of `path` begin
/// with all those of `directory` and go on. Neither may have ".." in it.
[[nodiscard]] bool is_below(std::string_view path, std::string_view directory);

/// The last component, or all of a path without a slash.
[[nodiscard]] std::string_view file_name(std::string_view path) noexcept;

/// Where the system, not our settings, puts a file, such as /etc/pve/storage.cfg: `path`, which is absolute,
/// behind the directory in the environment variable VMAD_ROOT, if there is one, so that a test can have a
/// node of its own.
[[nodiscard]] std::string system_path(std::string_view path);

}  // namespace vmad::base
