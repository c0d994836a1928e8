#include "settings/setting_value.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/path.hpp"
#include "base/text.hpp"
#include "base/units.hpp"

namespace vmad::settings {
namespace {

const char* kind_of(const toml::node& node) {
    switch (node.type()) {
        case toml::node_type::table:
            return "a table";
        case toml::node_type::array:
            return "an array";
        case toml::node_type::string:
            return "a string";
        case toml::node_type::integer:
            return "an integer";
        case toml::node_type::floating_point:
            return "a floating-point number";
        case toml::node_type::boolean:
            return "a boolean";
        default:
            return "a date or a time";
    }
}

/// Nothing where `parse` throws: what is wrong is said with the place and the limits.
template <typename Parse>
auto parsed(const std::string& text, Parse parse) -> std::optional<decltype(parse(text))> {
    try {
        return parse(text);
    } catch (const base::UsageError&) {
        return std::nullopt;
    }
}

std::string sizes(std::uint64_t least, std::uint64_t most) {
    return fmt::format("a size from \"{}\" to \"{}\"", base::spell_size(least), base::spell_size(most));
}

std::string durations(std::int64_t least, std::int64_t most) {
    return fmt::format("a duration from \"{}\" to \"{}\"", base::spell_duration(least),
                       base::spell_duration(most));
}

}  // namespace

std::int64_t SettingValue::integer(std::int64_t least, std::int64_t most) const {
    const std::string instead = fmt::format("write an integer from {} to {}", least, most);
    const auto* number = node_->as_integer();
    if (!number) fail(fmt::format("is {}", kind_of(*node_)), instead);
    if (number->get() < least || number->get() > most) fail(fmt::format("is {}", number->get()), instead);
    return number->get();
}

bool SettingValue::boolean() const {
    const auto* truth = node_->as_boolean();
    if (!truth) fail(fmt::format("is {}", kind_of(*node_)), "write true or false, without quotes");
    return truth->get();
}

std::uint64_t SettingValue::size(std::uint64_t least, std::uint64_t most) const {
    return size_within(least, most, fmt::format("write {}", sizes(least, most)));
}

std::optional<std::uint64_t> SettingValue::size_or(std::string_view word, std::uint64_t least,
                                                   std::uint64_t most) const {
    const std::string instead = fmt::format("write {} or {}", toml_text(word), sizes(least, most));
    if (text(instead) == word) return std::nullopt;
    return size_within(least, most, instead);
}

std::uint64_t SettingValue::size_within(std::uint64_t least, std::uint64_t most,
                                        std::string_view instead) const {
    const std::string& given = text(instead);
    const auto bytes = parsed(given, base::parse_size);
    if (!bytes || *bytes < least || *bytes > most) fail(fmt::format("is {}", toml_text(given)), instead);
    return *bytes;
}

std::int64_t SettingValue::duration(std::int64_t least, std::int64_t most) const {
    return duration_within(least, most, fmt::format("write {}", durations(least, most)));
}

std::optional<std::int64_t> SettingValue::duration_or(std::string_view word, std::int64_t least,
                                                      std::int64_t most) const {
    const std::string instead = fmt::format("write {} or {}", toml_text(word), durations(least, most));
    if (text(instead) == word) return std::nullopt;
    return duration_within(least, most, instead);
}

std::size_t SettingValue::one_of(std::span<const std::string_view> words) const {
    std::string instead = "write " + toml_text(words.front());
    for (const auto& word : words.subspan(1))
        instead += (&word == &words.back() ? " or " : ", ") + toml_text(word);
    const std::string& given = text(instead);
    const auto found = std::find(words.begin(), words.end(), given);
    if (found == words.end()) fail(fmt::format("is {}", toml_text(given)), instead);
    return static_cast<std::size_t>(found - words.begin());
}

std::int64_t SettingValue::duration_within(std::int64_t least, std::int64_t most,
                                           std::string_view instead) const {
    const std::string& given = text(instead);
    const auto seconds = parsed(given, base::parse_duration);
    if (!seconds || *seconds < least || *seconds > most)
        fail(fmt::format("is {}", toml_text(given)), instead);
    return *seconds;
}

StartWindow SettingValue::start_window() const {
    constexpr std::string_view kInstead =
        "write two times that differ, from 00:00 to 23:59, for example \"22:00-06:00\", or \"\"";
    const std::string& given = text(kInstead);
    const auto window = parsed(given, parse_start_window);
    if (!window) fail(fmt::format("is {}", toml_text(given)), kInstead);
    return *window;
}

bool SettingValue::is_empty_string() const {
    const auto* text = node_->as_string();
    return text && text->get().empty();
}

std::string SettingValue::path(std::size_t limit_bytes) const {
    const std::string& given = text("write an absolute path in quotes");
    const auto fail_path = [&](std::string_view why, std::string_view instead) {
        fail(fmt::format("is {}, which {}", toml_text(given), why), instead);
    };
    if (!given.starts_with('/')) fail_path("is not an absolute path", "write a path that begins with \"/\"");
    if (given.find('\0') != given.npos) fail_path("contains a NUL", "write a path without it");

    for (const std::string_view component : {".", ".."})
        if (base::has_component(given, component))
            fail_path(fmt::format("has \"{}\" in it", component), "write the resolved path");
    auto path = base::normal_path(given);
    if (path.size() > limit_bytes)
        fail(fmt::format("has {} bytes", path.size()),
             fmt::format("write a path of at most {} bytes", limit_bytes));
    return path;
}

std::vector<std::string> SettingValue::paths(std::size_t limit_bytes) const {
    std::vector<std::string> paths;
    for (const toml::node& node : list("write an array of absolute paths: [\"/…\"]"))
        paths.push_back(SettingValue(node, entry_name(paths.size())).path(limit_bytes));
    return paths;
}

std::vector<std::string> SettingValue::command(std::size_t limit_bytes) const {
    std::vector<std::string> words;
    for (const toml::node& node : list("write a program and its arguments as an array: [\"/…\", \"…\"]")) {
        const SettingValue word(node, entry_name(words.size()));
        words.push_back(words.empty() ? word.path(limit_bytes) : word.text("write a string in quotes"));
        if (words.back().find('\0') != std::string::npos)
            word.fail(fmt::format("is {}, which contains a NUL", toml_text(words.back())),
                      "write a string without it");
    }
    return words;
}

Origin SettingValue::origin() const { return {*node_->source().path, node_->source().begin.line}; }

void SettingValue::fail(std::string_view what, std::string_view instead) const {
    fail_at(node_->source(), fmt::format("{} {}", name_, what), instead);
}

const std::string& SettingValue::text(std::string_view instead) const {
    const auto* text = node_->as_string();
    if (!text) fail(fmt::format("is {}", kind_of(*node_)), instead);
    return text->get();
}

const toml::array& SettingValue::list(std::string_view instead) const {
    const auto* list = node_->as_array();
    if (!list) fail(fmt::format("is {}", kind_of(*node_)), instead);
    return *list;
}

std::string SettingValue::entry_name(std::size_t index) const {
    return fmt::format("entry {} of {}", index + 1, name_);
}

std::string message_at(const toml::source_region& place, std::string_view what, std::string_view instead) {
    return fmt::format("{}:{}:{}: {}; {}", *place.path, place.begin.line, place.begin.column, what, instead);
}

void fail_at(const toml::source_region& place, std::string_view what, std::string_view instead) {
    throw base::UsageError(message_at(place, what, instead));
}

std::string toml_text(std::string_view text) {
    std::string quoted = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') quoted += '\\';
        quoted += c;
    }
    return base::printable_unicode(quoted) + '"';
}

std::string toml_text(const std::vector<std::string>& texts) {
    std::string list;
    for (const std::string& text : texts) list += (list.empty() ? "" : ", ") + toml_text(text);
    return '[' + list + ']';
}

}  // namespace vmad::settings
