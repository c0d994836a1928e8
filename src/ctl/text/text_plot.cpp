#include "ctl/text/text_plot.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "base/units.hpp"
#include "ctl/text/printable_text.hpp"

namespace vmad::ctl {
namespace {

/// From low to high; the last one fills its place.
constexpr std::array<const char*, 8> kBlocks{"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
constexpr std::array<const char*, 8> kMarks{"_", ".", ":", "-", "=", "+", "*", "#"};
constexpr std::size_t kLevels = kBlocks.size();

constexpr std::size_t kWidestColumn = 6;
constexpr std::size_t kAxisWidth = 10;  ///< "1023 GiB |"

/// `part` of `whole` in steps; 0 only for 0.
std::size_t steps_of(std::uint64_t part, std::uint64_t whole, std::size_t steps) {
    if (part == 0 || whole == 0) return 0;
    const auto share = static_cast<double>(part) / static_cast<double>(whole);
    return std::clamp<std::size_t>(static_cast<std::size_t>(std::lround(share * static_cast<double>(steps))),
                                   1, steps);
}

std::vector<std::optional<std::uint64_t>> condensed(const std::vector<std::optional<std::uint64_t>>& bytes,
                                                    std::size_t width) {
    const auto together = (bytes.size() + width - 1) / std::max<std::size_t>(width, 1);
    std::vector<std::optional<std::uint64_t>> sums;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        if (i % together == 0) sums.emplace_back();
        if (bytes[i]) sums.back() = sums.back().value_or(0) + *bytes[i];
    }
    return sums;
}

/// What stands in line `line`, counted from below, of a column that fills `eighths` of lines.
const char* cell_of(std::size_t eighths, std::size_t line, bool utf8) {
    const auto below = line * kLevels;
    if (eighths <= below) return " ";
    const auto level = std::min(eighths - below, kLevels);
    if (utf8) return kBlocks[level - 1];
    return level > kLevels / 2 ? "#" : line == 0 ? "_" : " ";
}

void trim_end(std::string& line) { line.erase(line.find_last_not_of(' ') + 1); }

/// Below the columns, each label at the begin of its column.
std::string label_line(const std::vector<PlotColumn>& columns, std::size_t pitch, std::size_t width) {
    std::string line(kAxisWidth, ' ');
    std::size_t at = kAxisWidth;
    for (std::size_t i = 0; i < columns.size(); ++i) {
        const auto begin = kAxisWidth + i * pitch;
        const auto& label = columns[i].label;
        const auto end = begin + text_width(label);
        if (label.empty() || end > width || (at != kAxisWidth && begin < at + 1)) continue;
        line.append(begin - at, ' ').append(label);
        at = end;
    }
    return line;
}

}  // namespace

std::uint64_t axis_limit(std::uint64_t largest) noexcept {
    for (std::uint64_t unit = 1; unit < UINT64_C(1) << 60; unit *= 1024)
        for (const std::uint64_t step : {1, 2, 5, 10, 20, 50, 100, 200, 500})
            if (step * unit >= largest) return step * unit;
    return std::max(largest, UINT64_C(1) << 60);
}

std::string spark_line(const std::vector<std::optional<std::uint64_t>>& bytes, std::size_t width) {
    const auto values = condensed(bytes, width);
    std::uint64_t largest = 0;
    for (const auto& value : values) largest = std::max(largest, value.value_or(0));
    const auto& marks = locale_is_utf8() ? kBlocks : kMarks;
    std::string line;
    for (const auto& value : values) line += value ? marks[steps_of(*value, largest, kLevels - 1)] : " ";
    return line;
}

std::string column_plot(const std::vector<PlotColumn>& columns, std::size_t height, std::size_t width) {
    std::uint64_t largest = 0;
    for (const auto& column : columns) largest = std::max(largest, column.bytes);
    if (largest == 0 || width <= kAxisWidth || (width - kAxisWidth) / columns.size() < 2) return {};
    const auto limit = axis_limit(largest);
    const auto pitch = std::min((width - kAxisWidth) / columns.size(), kWidestColumn + 1);
    const bool utf8 = locale_is_utf8();
    std::string text;
    for (std::size_t line = height; line-- > 0;) {
        const auto scale = line + 1 == height ? base::format_size(limit) : line == 0 ? "0" : "";
        auto row = fmt::format("{:>{}} {}", scale, kAxisWidth - 2, utf8 ? "│" : "|");
        for (const auto& column : columns) {
            const auto* cell = cell_of(steps_of(column.bytes, limit, height * kLevels), line, utf8);
            for (std::size_t i = 0; i + 1 < pitch; ++i) row += cell;
            row += ' ';
        }
        trim_end(row);
        text += row + "\n";
    }
    auto labels = label_line(columns, pitch, width);
    trim_end(labels);
    return text + labels + "\n";
}

}  // namespace vmad::ctl
