#include "ctl/text/printable_text.hpp"

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

}  // namespace

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
