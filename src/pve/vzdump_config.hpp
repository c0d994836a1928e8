// The one line of /etc/vzdump.conf that matters here, `script: PATH`, found as vzdump finds it and changed
// without touching any other byte.
//
// As PVE::JSONSchema::parse_config has it: white space around a line does not count, a line that begins with
// '#' is a comment, of several lines the last holds, and a value is everything behind the colon, without
// quotes or comments. An empty value is no script. Nothing is known here of what the script is. Pure; any
// thread.
#pragma once

#include <string>
#include <string_view>

namespace vmad::pve {

inline constexpr char kVzdumpConfigFile[] = "/etc/vzdump.conf";

/// What vzdump runs; empty when it runs nothing. Valid as long as `text` is.
[[nodiscard]] std::string_view vzdump_script(std::string_view text);

/// The text with another script: in the place of the one that holds, or in a line of its own at the end. A
/// text whose last line does not end has none that ends afterwards, so that without_vzdump_script() knows
/// that the line feed before it was not there. `script` can_be_vzdump_script().
[[nodiscard]] std::string with_vzdump_script(std::string_view text, std::string_view script);

/// The text without the line that holds, which undoes what with_vzdump_script() did to a text without a
/// script. `text` has a script.
[[nodiscard]] std::string without_vzdump_script(std::string_view text);

/// True for an absolute path that vzdump, if it is in the line, would read from it unchanged.
[[nodiscard]] bool can_be_vzdump_script(std::string_view path);

}  // namespace vmad::pve
