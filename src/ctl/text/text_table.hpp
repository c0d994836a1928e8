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
        bool shrinks = false;  ///< loses its middle where the terminal is too narrow
    };
    struct Cell {
        std::string text;  ///< any bytes: made printable here
        Colour colour = Colour::none;
    };

    explicit TextTable(std::vector<Column> columns) : columns_(std::move(columns)) {}

    /// As many cells as there are columns.
    void add(std::vector<Cell> row);
    /// A line below the last row, indented; it loses its middle where the terminal is too narrow.
    void add_note(std::string_view text);
    [[nodiscard]] bool empty() const noexcept { return rows_.empty(); }
    /// A line of titles and a line for each row. Wider than the console only where no column can give way.
    [[nodiscard]] std::string render(const Console& console) const;

  private:
    struct Row {
        std::vector<Cell> cells;
        std::string note;
    };

    [[nodiscard]] std::vector<std::size_t> fitted_widths(std::size_t limit) const;

    std::vector<Column> columns_;
    std::vector<Row> rows_;
};

}  // namespace vmad::ctl
