// Amounts of data as plots made of characters: block characters, or ASCII where the locale is not one of
// UTF-8. Pure, but for the locale of the environment.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace vmad::ctl {

/// Where the axis of a plot ends whose largest value is this: 1, 2, 5, 10, … 500 of a unit of 1024. At least
/// the value, unless that is close to 2^64, and never 0.
[[nodiscard]] std::uint64_t axis_limit(std::uint64_t largest) noexcept;

/// A character for each value, from low to high as a part of the largest of them; a space for none. Of more
/// values than `width` (at least 1), neighbours are added up.
[[nodiscard]] std::string spark_line(const std::vector<std::optional<std::uint64_t>>& bytes,
                                     std::size_t width);

struct PlotColumn {
    std::string label;  ///< printable; as many of them are shown as there is room for
    std::uint64_t bytes = 0;
};

/// Columns with an axis of sizes on their left and labels below, in lines of at most `width` characters;
/// `height` lines (at least 2) for the columns. Empty where that is too narrow, or there is nothing to see.
[[nodiscard]] std::string column_plot(const std::vector<PlotColumn>& columns, std::size_t height,
                                      std::size_t width);

}  // namespace vmad::ctl
