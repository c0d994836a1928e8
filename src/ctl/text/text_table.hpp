// Rows and columns of text, aligned and fitted to a terminal.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ctl/text/console.hpp"

namespace vmad::ctl {

class TextTable {
  public:
    enum class Align { left, right };
    struct Column {
        std::string title;
        Align align = Align::left;
        bool shrinks = false;      ///< loses its middle where the terminal is too narrow
        bool keeps_begin = false;  ///< one that shrinks loses its end instead
        bool drops = false;        ///< left out where that is not enough, the last one first
    };
    struct Cell {
        std::string text;  ///< any bytes: made printable here
        Colour colour = Colour::none;
    };

    explicit TextTable(std::vector<Column> columns) : columns_(std::move(columns)) {}

    /// As many cells as there are columns.
    void add(std::vector<Cell> row);
    /// Lines below the last row, indented; wrapped where the terminal is too narrow. Nothing for an empty
    /// text.
    void add_note(std::string_view text);
    [[nodiscard]] bool empty() const noexcept { return rows_.empty(); }
    /// A line of titles and a line for each row. Wider than the console only where no column can give way.
    [[nodiscard]] std::string render(const Console& console) const;

  private:
    struct Row {
        std::vector<Cell> cells;
        std::vector<std::string> notes;
    };
    /// A column as it is shown.
    struct Shown {
        std::size_t index;
        std::size_t width;
    };

    [[nodiscard]] std::vector<Shown> fitted(std::size_t limit) const;
    [[nodiscard]] std::string line(const std::vector<Shown>& shown, const std::vector<Cell>& cells,
                                   const Console& console) const;

    std::vector<Column> columns_;
    std::vector<Row> rows_;
};

}  // namespace vmad::ctl
