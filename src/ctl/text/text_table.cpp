#include "ctl/text/text_table.hpp"

#include <algorithm>
#include <numeric>

#include "ctl/text/printable_text.hpp"

namespace vmad::ctl {
namespace {

constexpr std::string_view kGap = "  ";
constexpr std::string_view kNoteIndent = "    ";
/// A shortened text still tells something when it has this many columns.
constexpr std::size_t kMinShrunkWidth = 12;

}  // namespace

void TextTable::add(std::vector<Cell> row) {
    for (auto& cell : row) cell.text = in_locale(printable(cell.text));
    rows_.push_back({std::move(row), {}});
}

void TextTable::add_note(std::string_view text) { rows_.back().note = in_locale(printable(text)); }

std::vector<std::size_t> TextTable::fitted_widths(std::size_t limit) const {
    std::vector<std::size_t> widths;
    for (std::size_t i = 0; i < columns_.size(); ++i) {
        widths.push_back(text_width(columns_[i].title));
        for (const auto& row : rows_) widths[i] = std::max(widths[i], text_width(row.cells[i].text));
    }
    auto total = std::accumulate(widths.begin(), widths.end(), kGap.size() * (columns_.size() - 1));
    for (;;) {
        if (total <= limit) return widths;
        // The widest gives way first, so that two columns end up equally wide.
        std::size_t* widest = nullptr;
        for (std::size_t i = 0; i < columns_.size(); ++i)
            if (columns_[i].shrinks && widths[i] > kMinShrunkWidth && (!widest || widths[i] > *widest))
                widest = &widths[i];
        if (widest == nullptr) return widths;
        --*widest;
        --total;
    }
}

std::string TextTable::render(const Console& console) const {
    const auto widths = fitted_widths(console.width());
    std::string result;
    const auto add_line = [&](auto cell_of) {
        std::string line;
        for (std::size_t i = 0; i < columns_.size(); ++i) {
            const Cell cell = cell_of(i);
            const auto text = shorten(cell.text, widths[i]);
            const std::string padding(widths[i] - text_width(text), ' ');
            if (columns_[i].align == Align::right) line += padding;
            line += console.paint(cell.colour, text);
            if (columns_[i].align == Align::left) line += padding;
            if (i + 1 < columns_.size()) line += kGap;
        }
        result += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
    };
    add_line([&](std::size_t i) { return Cell{columns_[i].title, Colour::bold}; });
    for (const auto& row : rows_) {
        add_line([&](std::size_t i) { return row.cells[i]; });
        if (!row.note.empty())
            result.append(kNoteIndent).append(shorten(row.note, console.width() - kNoteIndent.size())) +=
                '\n';
    }
    return result;
}

}  // namespace vmad::ctl
