#include "settings/setting_value.hpp"

#include <algorithm>
#include <optional>

#include <climits>
#include <fmt/format.h>

#include "base/error.hpp"
#include "base/size_text.hpp"

namespace vmad::settings {
namespace {

const char* kind_of(const toml::node& node) {
    switch (node.type()) {
        case toml::node_type::table:
            return "a table";
        case toml::node_type::array:
            return "a list";
        case toml::node_type::string:
            return "a text";
        case toml::node_type::integer:
            return "a whole number";
        case toml::node_type::floating_point:
            return "a number with a fraction";
        case toml::node_type::boolean:
            return "true or false";
        default:
            return "a date or a time";
    }
}

}  // namespace

std::int64_t SettingValue::whole_number(std::int64_t least, std::int64_t most) const {
    const std::string instead = fmt::format("write a whole number from {} to {}", least, most);
    const auto* number = node_->as_integer();
    if (!number) fail(fmt::format("is {}", kind_of(*node_)), instead);
    if (number->get() < least || number->get() > most) fail(fmt::format("is {}", number->get()), instead);
    return number->get();
}

std::uint64_t SettingValue::size(std::uint64_t least, std::uint64_t most) const {
    const auto instead =
        fmt::format("write a size from \"{}\" to \"{}\"", base::size_text(least), base::size_text(most));
    const auto* text = node_->as_string();
    if (!text) fail(fmt::format("is {}", kind_of(*node_)), instead);
    std::optional<std::uint64_t> bytes;
    try {
        bytes = base::parse_size(text->get());
    } catch (const base::UsageError&) {
        // Said below, with the place and the limits.
    }
    if (!bytes || *bytes < least || *bytes > most)
        fail(fmt::format("is {}", toml_text(text->get())), instead);
    return *bytes;
}

std::string SettingValue::path(std::size_t limit_bytes) const {
    const auto* text = node_->as_string();
    if (!text) fail(fmt::format("is {}", kind_of(*node_)), "write an absolute path in quotes");
    const std::string& given = text->get();
    const auto fail_path = [&](std::string_view why, std::string_view instead) {
        fail(fmt::format("is {}, which {}", toml_text(given), why), instead);
    };
    if (!given.starts_with('/')) fail_path("is not an absolute path", "write a path that begins with \"/\"");
    if (given.find('\0') != given.npos) fail_path("has a NUL in it", "write a path without it");

    std::string path;
    for (std::size_t begin = 1; begin <= given.size();) {
        const auto end = std::min(given.find('/', begin), given.size());
        const std::string component = given.substr(begin, end - begin);
        if (component == "." || component == "..")
            fail_path(fmt::format("has \"{}\" in it", component), "write the path that it stands for");
        if (!component.empty()) path += '/' + component;
        begin = end + 1;
    }
    if (path.empty()) path = "/";
    if (path.size() > limit_bytes)
        fail(fmt::format("has {} bytes", path.size()),
             fmt::format("write a path of at most {} bytes", limit_bytes));
    return path;
}

std::vector<std::string> SettingValue::paths() const {
    const auto* list = node_->as_array();
    if (!list)
        fail(fmt::format("is {}", kind_of(*node_)), "write a list of absolute paths in brackets: [\"/…\"]");
    std::vector<std::string> paths;
    for (const toml::node& entry : *list) {
        const SettingValue value(entry, fmt::format("entry {} of {}", paths.size() + 1, name_));
        paths.push_back(value.path(PATH_MAX - 1));
    }
    return paths;
}

Origin SettingValue::origin() const { return {*node_->source().path, node_->source().begin.line}; }

void SettingValue::fail(std::string_view what, std::string_view instead) const {
    fail_at(node_->source(), fmt::format("{} {}", name_, what), instead);
}

void fail_at(const toml::source_region& place, std::string_view what, std::string_view instead) {
    throw base::UsageError(
        fmt::format("{}:{}:{}: {}; {}", *place.path, place.begin.line, place.begin.column, what, instead));
}

std::string toml_text(std::string_view text) {
    std::string quoted = "\"";
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\')
            quoted += {'\\', c};
        else if (byte < 0x20 || byte == 0x7f)
            quoted += fmt::format("\\u{:04x}", byte);
        else
            quoted += c;
    }
    return quoted + '"';
}

std::string toml_text(const std::vector<std::string>& texts) {
    std::string list;
    for (const std::string& text : texts) list += (list.empty() ? "" : ", ") + toml_text(text);
    return '[' + list + ']';
}

}  // namespace vmad::settings
