// Text that may come from a hostile archive, made fit for a terminal. Pure, but for the locale of the
// environment.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/text.hpp"

namespace vmad::ctl {

using base::printable;

/// Whether the locale of the environment is one of UTF-8, by LC_ALL, LC_CTYPE and LANG. In any other, as in
/// vzdump's hooks, only ASCII passes unharmed.
[[nodiscard]] bool locale_is_utf8() noexcept;

/// A printable text as it is, or in ASCII alone, as the locale has it. The console does this to all that it
/// prints; whoever counts columns does it before.
[[nodiscard]] std::string in_locale(const std::string& text);

/// How many columns printable UTF-8 takes: one for each character. (East Asian ones take two; they only cost
/// a table its alignment.)
[[nodiscard]] std::size_t text_width(std::string_view text) noexcept;

/// At most `width` columns (at least 1) of a printable text, which loses its middle: "/var/…/dump.vma".
[[nodiscard]] std::string shorten(const std::string& text, std::size_t width);

/// At most `width` columns (at least 1) of a printable text, which loses its end: "a long na…".
[[nodiscard]] std::string cut(const std::string& text, std::size_t width);

/// A printable text in lines of at most `width` columns (at least 1), broken at spaces; only a longer word is
/// broken elsewhere. All of it: nothing is lost but the spaces at the breaks. No line for an empty text.
[[nodiscard]] std::vector<std::string> wrapped(std::string_view text, std::size_t width);

}  // namespace vmad::ctl
