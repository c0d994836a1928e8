// Which of the words that there are was meant by one that there is not. Pure; any thread.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace vmad::base {

/// The one of `known` that is spelled most like `unknown`, if it is like it at all: a letter or two more,
/// less, other or swapped, depending on the length, or the rest left out. The first of equals.
[[nodiscard]] std::optional<std::string> similar_word(std::string_view unknown,
                                                      std::span<const std::string> known);

}  // namespace vmad::base
