#include "ctl/text/console.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdlib>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "ctl/text/printable_text.hpp"

namespace vmad::ctl {
namespace {

constexpr std::size_t kDefaultWidth = 80;
/// Narrower than this nothing useful can be shown, so the terminal may fold it.
constexpr std::size_t kMinWidth = 20;

std::string_view environment(const char* name) {
    const char* value = std::getenv(name);
    return value == nullptr ? "" : value;
}

std::size_t terminal_width() {
    const auto columns = environment("COLUMNS");
    std::size_t width = 0;
    std::from_chars(columns.data(), columns.data() + columns.size(), width);
    for (const int fd : {STDOUT_FILENO, STDERR_FILENO}) {
        winsize size{};
        if (width == 0 && ::ioctl(fd, TIOCGWINSZ, &size) == 0) width = size.ws_col;
    }
    return width == 0 ? kDefaultWidth : std::max(width, kMinWidth);
}

/// False, with errno, when not all of it could be written.
bool write_all(int fd, const std::string& bytes) noexcept {
    std::string_view text = bytes;
    while (!text.empty()) {
        const auto count = ::write(fd, text.data(), text.size());
        if (count < 0 && errno == EINTR) continue;
        if (count == 0) errno = EIO;  // for ever, perhaps
        if (count <= 0) return false;
        text.remove_prefix(static_cast<std::size_t>(count));
    }
    return true;
}

std::string json_line(const nlohmann::json& value) {
    return value.dump(-1, ' ', !locale_is_utf8(), nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace

Console::Console()
    : width_(terminal_width()),
      colours_(::isatty(STDOUT_FILENO) && environment("NO_COLOR").empty() && environment("TERM") != "dumb"),
      output_is_terminal_(::isatty(STDOUT_FILENO)),
      error_is_terminal_(::isatty(STDERR_FILENO)) {}

void Console::print(std::string_view text) {
    if (!write_all(STDOUT_FILENO, in_locale(std::string(text))))
        base::throw_errno("write", "standard output");
}

void Console::print_content(std::string_view content) {
    if (!output_is_terminal_) {
        if (!write_all(STDOUT_FILENO, std::string(content))) base::throw_errno("write", "standard output");
        return;
    }
    while (!content.empty()) {
        const auto line = content.substr(0, content.find('\n'));
        content.remove_prefix(std::min(line.size() + 1, content.size()));
        print(printable(line) + "\n");
    }
}

void Console::print_json(const nlohmann::json& value) { print(json_line(value)); }

void Console::message(std::string_view text) noexcept {
    write_message("message", text, nlohmann::json::object());
}

void Console::message_once(std::string_view text) {
    if (written_once_.emplace(text).second) message(text);
}

void Console::error(std::string_view text, const nlohmann::json& more) noexcept {
    write_message("error", text, more);
}

void Console::write_message(const char* kind, std::string_view text, nlohmann::json object) noexcept {
    if (json_) object[kind] = text;
    (void)write_all(STDERR_FILENO,
                    json_ ? json_line(object) : in_locale(fmt::format("vmactl: {}\n", printable(text))));
}

std::string Console::paint(Colour colour, std::string_view text) const {
    const auto code = [&] {
        switch (colour) {
            case Colour::none:
                return 0;
            case Colour::red:
                return 31;
            case Colour::green:
                return 32;
            case Colour::yellow:
                return 33;
            case Colour::bold:
                return 1;
        }
        return 0;
    }();
    return colours_ && code != 0 ? fmt::format("\x1b[{}m{}\x1b[0m", code, text) : std::string(text);
}

void Console::show_line(std::string_view text) noexcept {
    (void)write_all(STDERR_FILENO, in_locale(fmt::format("\r{}\x1b[K", text)));
}

}  // namespace vmad::ctl
