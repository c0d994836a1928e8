// The settings files themselves: where they are, and their way from the disk to TOML tables. What a key means
// is not known here.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <toml++/toml.h>

namespace vmad::settings {

// For base::system_path().
inline constexpr std::string_view kVendorFile = "/usr/lib/vmad/vmad.toml";
inline constexpr std::string_view kClusterFile = "/etc/pve/vmad.toml";
inline constexpr std::string_view kNodeFile = "/etc/vmad/vmad.toml";
inline constexpr std::string_view kDropInDirectory = "/etc/vmad/vmad.toml.d";

/// Nothing when there is no such file. Throws base::UsageError, "FILE:LINE:COLUMN: not TOML: …" or "FILE:
/// cannot be read: why".
[[nodiscard]] std::optional<toml::table> parse_file(const std::string& path);

/// The same without what makes no sense: a line that is no TOML is left out, and a file that is not there is
/// an empty table. Throws base::UsageError, "FILE: cannot be read: why"; for too many such lines, too.
[[nodiscard]] toml::table parse_what_is_valid(const std::string& path);

/// Throws what says that a file, or a directory of files, cannot be read.
[[noreturn]] void fail_to_read(const std::string& path, std::string_view why);

/// The paths of the regular files in `directory`, and of links to such, that are called *.toml and are not
/// hidden, in byte order of their names; none when there is no such directory. Throws base::UsageError.
[[nodiscard]] std::vector<std::string> drop_ins(const std::string& directory);

}  // namespace vmad::settings
