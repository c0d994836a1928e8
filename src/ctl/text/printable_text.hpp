// Text that may come from a hostile archive, made fit for a terminal. Pure.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace vmad::ctl {

/// The text with control characters and whatever is no UTF-8 as \xNN, so that a name can neither move the
/// cursor nor break a line.
[[nodiscard]] std::string printable(std::string_view text);

/// How many columns printable UTF-8 takes: one for each character. (East Asian ones take two; they only cost
/// a table its alignment.)
[[nodiscard]] std::size_t text_width(std::string_view text) noexcept;

/// At most `width` columns (at least 1) of a printable text, which loses its middle: "/var/…/dump.vma".
[[nodiscard]] std::string shorten(const std::string& text, std::size_t width);

}  // namespace vmad::ctl
