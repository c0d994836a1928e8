#include "pve/vzdump_config.hpp"

#include <algorithm>
#include <cstddef>
#include <optional>

namespace vmad::pve {
namespace {

constexpr std::string_view kSpace = " \t\r\f\v";
constexpr std::string_view kKey = "script:";

struct ScriptLine {
    std::size_t begin;
    std::size_t end;  ///< behind its line feed, if it has one
    std::size_t value_begin;
    std::size_t value_size;
};

std::optional<ScriptLine> script_line_that_holds(std::string_view text) {
    std::optional<ScriptLine> found;
    for (std::size_t begin = 0; begin < text.size();) {
        const auto line_feed = std::min(text.find('\n', begin), text.size());
        const auto end = std::min(line_feed + 1, text.size());
        const auto line = text.substr(begin, line_feed - begin);
        const auto key = line.find_first_not_of(kSpace);
        if (key != line.npos && line.substr(key).starts_with(kKey)) {
            const auto value_end = line.find_last_not_of(kSpace) + 1;
            const auto value = std::min(line.find_first_not_of(kSpace, key + kKey.size()), value_end);
            found = ScriptLine{begin, end, begin + value, value_end - value};
        }
        begin = end;
    }
    return found;
}

}  // namespace

std::string_view vzdump_script(std::string_view text) {
    const auto line = script_line_that_holds(text);
    return line ? text.substr(line->value_begin, line->value_size) : std::string_view();
}

std::string with_vzdump_script(std::string_view text, std::string_view script) {
    std::string result(text);
    const auto line = script_line_that_holds(text);
    if (line && line->value_size != 0) return result.replace(line->value_begin, line->value_size, script);
    const bool ends = text.empty() || text.back() == '\n';
    result.append(ends ? "" : "\n").append(kKey).append(" ").append(script).append(ends ? "\n" : "");
    return result;
}

std::string without_vzdump_script(std::string_view text) {
    std::string result(text);
    const auto line = script_line_that_holds(text);
    if (!line) return result;
    const bool ends = text[line->end - 1] == '\n';
    const auto begin = ends || line->begin == 0 ? line->begin : line->begin - 1;
    return result.erase(begin, line->end - begin);
}

bool can_be_vzdump_script(std::string_view path) {
    constexpr std::string_view kNever("\n\0", 2);
    return path.starts_with('/') && path.find_first_of(kNever) == path.npos &&
           kSpace.find(path.back()) == kSpace.npos;
}

}  // namespace vmad::pve
