// Text that may come from a hostile archive, made fit for a terminal. Pure.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/text.hpp"

namespace vmad::ctl {

using base::printable;

/// How many columns printable UTF-8 takes: one for each character. (East Asian ones take two; they only cost
/// a table its alignment.)
[[nodiscard]] std::size_t text_width(std::string_view text) noexcept;

/// At most `width` columns (at least 1) of a printable text, which loses its middle: "/var/…/dump.vma".
[[nodiscard]] std::string shorten(const std::string& text, std::size_t width);

}  // namespace vmad::ctl
