// A length of time as an option or a setting spells it: "90s", "15min", "2h", "1d".
#pragma once

#include <cstdint>
#include <string>

namespace vmad::base {

/// Seconds. Takes one number and one unit, with or without a space between them. Throws base::UsageError that
/// says what is wrong with the text.
[[nodiscard]] std::int64_t parse_duration(const std::string& text);

/// `seconds`, which is not negative, in the largest unit that it is a multiple of: text that parse_duration()
/// takes for exactly this number.
[[nodiscard]] std::string duration_text(std::int64_t seconds);

}  // namespace vmad::base
