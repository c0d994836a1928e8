// The two streams of a command line tool: data on standard output, messages on standard error.
//
// Knows what the terminal can show. Nothing is buffered, so that an error is met where it happens. One
// thread.
#pragma once

#include <cstddef>
#include <functional>
#include <set>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

namespace vmad::ctl {

enum class Colour { none, red, green, yellow, bold };

class Console {
  public:
    /// Looks at the two descriptors and at COLUMNS, NO_COLOR and TERM.
    Console();

    /// Writes to standard output. Throws base::SystemError, for example when a disk is full.
    void print(std::string_view text);
    /// Writes the content of a file: byte for byte, but on a terminal made printable line by line.
    void print_content(std::string_view content);
    /// Prints a value as one line. Text that is no UTF-8 comes out with replacement characters.
    void print_json(const nlohmann::json& value);
    /// From here on, messages and errors are JSON too.
    void use_json() noexcept { json_ = true; }
    /// Writes "vmactl: TEXT" to standard error, made printable; in JSON {"message": TEXT}. A failure is
    /// ignored: there is nobody to tell.
    void message(std::string_view text) noexcept;
    /// The same, unless this object has written this text before.
    void message_once(std::string_view text);
    /// The same for what failed; in JSON {"error": TEXT} with the fields that `more` has.
    void error(std::string_view text, const nlohmann::json& more) noexcept;

    /// Columns of the terminal; 80 when it is not known.
    [[nodiscard]] std::size_t width() const noexcept { return width_; }
    /// The text in a colour, where colour is wanted.
    [[nodiscard]] std::string paint(Colour colour, std::string_view text) const;

    /// True when somebody watches standard error.
    [[nodiscard]] bool shows_progress() const noexcept { return error_is_terminal_; }
    /// Replaces the last line of the terminal; an empty text removes it.
    void show_line(std::string_view text) noexcept;

  private:
    void write_message(const char* kind, std::string_view text, nlohmann::json object) noexcept;

    bool json_ = false;
    std::set<std::string, std::less<>> written_once_;
    std::size_t width_;
    bool colours_;
    bool output_is_terminal_;
    bool error_is_terminal_;
};

}  // namespace vmad::ctl
