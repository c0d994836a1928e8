// A number of bytes as an option or a setting spells it: "512", "64K", "256M", "2G"; powers of 1024.
#pragma once

#include <cstdint>
#include <string>

namespace vmad::base {

/// Throws base::UsageError that says what is wrong with it.
[[nodiscard]] std::uint64_t parse_size(const std::string& text);

/// The shortest text that parse_size() takes for exactly this number.
[[nodiscard]] std::string size_text(std::uint64_t bytes);

}  // namespace vmad::base
