#include "ctl/text/printable_text.hpp"

#include <fmt/format.h>

namespace vmad::ctl {
namespace {

bool is_continuation(char byte) noexcept { return (static_cast<unsigned char>(byte) & 0xc0) == 0x80; }

/// The length of the well-formed, printable character that `text` begins with; 0 when there is none.
std::size_t printable_length(std::string_view text) noexcept {
    const auto lead = static_cast<unsigned char>(text[0]);
    if (lead < 0x80) return lead >= 0x20 && lead != 0x7f ? 1 : 0;
    const std::size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (lead < 0xc2 || lead > 0xf4 || text.size() < length) return 0;
    for (std::size_t i = 1; i < length; ++i)
        if (!is_continuation(text[i])) return 0;
    const auto second = static_cast<unsigned char>(text[1]);
    const bool control = lead == 0xc2 && second < 0xa0;
    const bool overlong = (lead == 0xe0 && second < 0xa0) || (lead == 0xf0 && second < 0x90);
    const bool no_character = (lead == 0xed && second >= 0xa0) || (lead == 0xf4 && second >= 0x90);
    return control || overlong || no_character ? 0 : length;
}

/// The first `count` characters, or the last ones when `from_end`.
std::string_view characters(std::string_view text, std::size_t count, bool from_end) {
    const auto skipped = from_end ? text_width(text) - count : count;
    std::size_t at = 0;
    for (std::size_t i = 0; i < skipped; ++i) do
            ++at;
        while (at < text.size() && is_continuation(text[at]));
    return from_end ? text.substr(at) : text.substr(0, at);
}

}  // namespace

std::string printable(std::string_view text) {
    std::string result;
    while (!text.empty()) {
        const auto length = printable_length(text);
        if (length == 0)
            result += fmt::format("\\x{:02x}", static_cast<unsigned char>(text[0]));
        else
            result += text.substr(0, length);
        text.remove_prefix(length == 0 ? 1 : length);
    }
    return result;
}

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

}  // namespace vmad::ctl
