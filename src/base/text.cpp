#include "base/text.hpp"

#include <algorithm>
#include <array>
#include <cstddef>

#include <fmt/format.h>

namespace vmad::base {
namespace {

struct Character {
    std::size_t size_bytes = 1;
    char32_t code = 0;
    bool is_valid = false;
};

/// The character that `text`, which is not empty, begins with; a byte that begins none is not valid.
Character first_character(std::string_view text) noexcept {
    const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(text[at]); };
    const auto lead = byte(0);
    if (lead < 0x80) return {1, lead, true};
    const std::size_t size = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (lead < 0xc2 || lead > 0xf4 || text.size() < size) return {};
    char32_t code = lead & (0x7fU >> size);
    for (std::size_t i = 1; i < size; ++i) {
        if ((byte(i) & 0xc0) != 0x80) return {};
        code = (code << 6) | (byte(i) & 0x3fU);
    }
    static constexpr std::array<char32_t, 5> kLeast{0, 0, 0x80, 0x800, 0x10000};
    const bool is_surrogate = code >= 0xd800 && code <= 0xdfff;
    if (code < kLeast[size] || code > 0x10ffff || is_surrogate) return {};
    return {size, code, true};
}

bool is_control(char32_t code) noexcept { return code < 0x20 || (code >= 0x7f && code < 0xa0); }

/// The marks, embeddings, overrides and isolates of bidirectional text.
bool turns_direction(char32_t code) noexcept {
    return code == 0x61c || code == 0x200e || code == 0x200f || (code >= 0x202a && code <= 0x202e) ||
           (code >= 0x2066 && code <= 0x2069);
}

/// Copies what is printable; `escape(bytes, character)` gives the text for the rest.
template <typename Escape>
std::string escape_unprintable(std::string_view text, Escape escape) {
    std::string result;
    while (!text.empty()) {
        const auto character = first_character(text);
        const auto bytes = text.substr(0, character.size_bytes);
        if (character.is_valid && !is_control(character.code) && !turns_direction(character.code))
            result += bytes;
        else
            result += escape(bytes, character);
        text.remove_prefix(bytes.size());
    }
    return result;
}

}  // namespace

bool is_utf8(std::string_view text) noexcept {
    while (!text.empty()) {
        const auto character = first_character(text);
        if (!character.is_valid) return false;
        text.remove_prefix(character.size_bytes);
    }
    return true;
}

std::string printable(std::string_view text) {
    return escape_unprintable(text, [](std::string_view bytes, const Character&) {
        std::string escaped;
        for (const char byte : bytes) escaped += fmt::format("\\x{:02x}", static_cast<unsigned char>(byte));
        return escaped;
    });
}

std::string ascii(std::string_view text) {
    std::string result;
    while (!text.empty()) {
        const auto character = first_character(text);
        const auto bytes = text.substr(0, character.size_bytes);
        text.remove_prefix(bytes.size());
        if (character.is_valid && character.code < 0x80)
            result += bytes;
        else if (bytes == "→")
            result += "->";
        else if (bytes == "…")
            result += "~";
        else
            for (const char byte : bytes)
                result += fmt::format("\\x{:02x}", static_cast<unsigned char>(byte));
    }
    return result;
}

std::string printable_unicode(std::string_view text) {
    return escape_unprintable(text, [](std::string_view, const Character& character) {
        constexpr std::uint32_t kReplacement = 0xfffd;
        return fmt::format("\\u{:04x}",
                           character.is_valid ? static_cast<std::uint32_t>(character.code) : kReplacement);
    });
}

void append_sentence(std::string& sentences, std::string_view more) {
    if (sentences.find(more) != std::string::npos) return;
    if (!sentences.empty()) sentences += "; ";
    sentences += more;
}

}  // namespace vmad::base
