#include "ctl/text/text_table.hpp"

#include <algorithm>
#include <iterator>

#include "ctl/text/printable_text.hpp"

namespace vmad::ctl {
namespace {

constexpr std::string_view kGap = "  ";
constexpr std::string_view kNoteIndent = "    ";
/// A shortened text still tells something when it has this many columns; so few, when it keeps its begin.
constexpr std::size_t kMinShrunkWidth = 12;
constexpr std::size_t kMinCutWidth = 6;

std::size_t least_width(const TextTable::Column& column) {
    return column.keeps_begin ? std::max(kMinCutWidth, text_width(column.title)) : kMinShrunkWidth;
}

}  // namespace

void TextTable::add(std::vector<Cell> row) {
    for (auto& cell : row) cell.text = in_locale(printable(cell.text));
    rows_.push_back({std::move(row), {}});
}

void TextTable::add_note(std::string_view text) {
    if (!text.empty()) rows_.back().notes.push_back(in_locale(printable(text)));
}

std::vector<TextTable::Shown> TextTable::fitted(std::size_t limit) const {
    std::vector<Shown> shown;
    std::size_t total = 0;
    for (std::size_t i = 0; i < columns_.size(); ++i) {
        auto width = text_width(columns_[i].title);
        for (const auto& row : rows_) width = std::max(width, text_width(row.cells[i].text));
        shown.push_back({i, width});
        total += width + (i == 0 ? 0 : kGap.size());
    }
    while (total > limit) {
        // The widest gives way first, so that two columns end up equally wide.
        Shown* widest = nullptr;
        for (auto& column : shown)
            if (columns_[column.index].shrinks && column.width > least_width(columns_[column.index]) &&
                (widest == nullptr || column.width > widest->width))
                widest = &column;
        if (widest != nullptr) {
            --widest->width;
            --total;
            continue;
        }
        const auto last = std::find_if(shown.rbegin(), shown.rend(),
                                       [&](const Shown& column) { return columns_[column.index].drops; });
        if (last == shown.rend()) break;
        total -= last->width + kGap.size();
        shown.erase(std::next(last).base());
    }
    return shown;
}

std::string TextTable::line(const std::vector<Shown>& shown, const std::vector<Cell>& cells,
                            const Console& console) const {
    std::string line;
    for (const auto& [index, width] : shown) {
        const auto& column = columns_[index];
        const auto& cell = cells[index];
        const auto text = column.keeps_begin ? cut(cell.text, width) : shorten(cell.text, width);
        const std::string padding(width - text_width(text), ' ');
        if (&index != &shown.front().index) line += kGap;
        if (column.align == Align::right) line += padding;
        line += console.paint(cell.colour, text);
        if (column.align == Align::left) line += padding;
    }
    return line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
}

std::string TextTable::render(const Console& console) const {
    const auto shown = fitted(console.width());
    std::vector<Cell> titles;
    for (const auto& column : columns_) titles.push_back({column.title, Colour::bold});
    auto result = line(shown, titles, console);
    for (const auto& row : rows_) {
        result += line(shown, row.cells, console);
        for (const auto& note : row.notes)
            for (const auto& text : wrapped(note, console.width() - kNoteIndent.size()))
                result.append(kNoteIndent).append(text) += '\n';
    }
    return result;
}

}  // namespace vmad::ctl
