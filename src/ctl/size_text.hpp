// A number of bytes as an option spells it.
#pragma once

#include <cstdint>
#include <string>

namespace vmad::ctl {

/// "512", "64K", "256M", "2G": powers of 1024. Throws base::UsageError that says what is wrong with it.
[[nodiscard]] std::uint64_t parse_size(const std::string& text);

}  // namespace vmad::ctl
