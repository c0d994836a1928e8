#include "ctl/text/printable_text.hpp"

#include <algorithm>
#include <cstdlib>

#include <fmt/format.h>

namespace vmad::ctl {
namespace {

bool is_continuation(char byte) noexcept { return (static_cast<unsigned char>(byte) & 0xc0) == 0x80; }

/// The first `count` characters, or the last ones when `from_end`.
std::string_view characters(std::string_view text, std::size_t count, bool from_end) {
    const auto skipped = from_end ? text_width(text) - count : count;
    std::size_t at = 0;
    for (std::size_t i = 0; i < skipped; ++i) do
            ++at;
        while (at < text.size() && is_continuation(text[at]));
    return from_end ? text.substr(at) : text.substr(0, at);
}

bool names_utf8(std::string_view locale) {
    std::string lower(locale);
    for (char& c : lower) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    return lower.find("utf-8") != lower.npos || lower.find("utf8") != lower.npos;
}

}  // namespace

bool locale_is_utf8() noexcept {
    for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"})
        if (const char* value = std::getenv(name); value != nullptr && *value != '\0')
            return names_utf8(value);
    return false;
}

std::string in_locale(const std::string& text) { return locale_is_utf8() ? text : base::ascii(text); }

std::size_t text_width(std::string_view text) noexcept {
    std::size_t width = 0;
    for (const char byte : text) width += !is_continuation(byte);
    return width;
}

std::string shorten(const std::string& text, std::size_t width) {
    if (text_width(text) <= width) return text;
    // The end says more than the beginning: it has the file's own name.
    const auto head = (width - 1) / 3;
    return fmt::format("{}…{}", characters(text, head, false), characters(text, width - 1 - head, true));
}

std::string cut(const std::string& text, std::size_t width) {
    if (text_width(text) <= width) return text;
    return fmt::format("{}…", characters(text, width - 1, false));
}

std::vector<std::string> wrapped(std::string_view text, std::size_t width) {
    std::vector<std::string> lines;
    while (!text.empty()) {
        auto line = text;
        if (text_width(text) > width) {
            // A space may stand right behind the last column.
            line = characters(text, width, false);
            const auto space = text.substr(0, line.size() + 1).rfind(' ');
            if (space != text.npos && space > 0) line = text.substr(0, space);
        }
        lines.emplace_back(line);
        text.remove_prefix(line.size());
        text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
    }
    return lines;
}

}  // namespace vmad::ctl
