#include "pve/section_config.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "base/error.hpp"

namespace vmad::pve {
namespace {

constexpr std::string_view kSpace = " \t\r";

std::string_view trimmed(std::string_view text) {
    const auto begin = text.find_first_not_of(kSpace);
    if (begin == text.npos) return {};
    return text.substr(begin, text.find_last_not_of(kSpace) + 1 - begin);
}

std::string lower_case(std::string_view text) {
    std::string result(text);
    for (char& c : result)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return result;
}

class SectionParser {
  public:
    std::vector<Section> parse(std::string_view text) {
        while (!text.empty()) {
            ++line_;
            const auto end = std::min(text.find('\n'), text.size());
            parse_line(text.substr(0, end));
            text.remove_prefix(std::min(end + 1, text.size()));
        }
        return std::move(sections_);
    }

    [[nodiscard]] std::size_t line() const noexcept { return line_; }

  private:
    void parse_line(std::string_view line) {
        const auto content = trimmed(line);
        if (content.starts_with('#')) return;
        if (content.empty())
            in_section_ = false;
        else if (in_section_)
            add_property(line, content);
        else
            begin_section(line);
    }

    void begin_section(std::string_view line) {
        const auto colon = std::min(line.find(':'), line.size());
        const auto type = line.substr(0, colon);
        const auto id = trimmed(line.substr(std::min(colon + 1, line.size())));
        const auto is_word = [](std::string_view text) {
            return !text.empty() && text.find_first_of(kSpace) == text.npos;
        };
        if (!is_word(type) || !is_word(id))
            throw base::Error(fmt::format("\"{}\" does not begin a section: TYPE: ID", line));
        const bool is_double = std::any_of(sections_.begin(), sections_.end(),
                                           [&](const Section& section) { return section.id == id; });
        if (is_double) throw base::Error(fmt::format("duplicate section \"{}\"", id));
        auto& section = sections_.emplace_back(Section{std::string(type), std::string(id), line_, {}});
        section.type = lower_case(type);
        in_section_ = true;
    }

    void add_property(std::string_view line, std::string_view content) {
        auto& section = sections_.back();
        if (line.front() == content.front())
            throw base::Error(fmt::format(
                "\"{}\" is not indented, so it is not a property of \"{}\"; an empty line ends a section",
                content, section.id));
        const auto end = std::min(content.find_first_of(kSpace), content.size());
        const auto key = content.substr(0, end);
        if (section.find(key) != nullptr)
            throw base::Error(fmt::format("\"{}\" has a second \"{}\"", section.id, key));
        section.properties.push_back({std::string(key), std::string(trimmed(content.substr(end))), line_});
    }

    std::vector<Section> sections_;
    std::size_t line_ = 0;
    bool in_section_ = false;
};

}  // namespace

const Property* Section::find(std::string_view key) const {
    const auto found = std::find_if(properties.begin(), properties.end(),
                                    [&](const Property& property) { return property.key == key; });
    return found == properties.end() ? nullptr : &*found;
}

std::vector<Section> parse_sections(std::string_view text, const std::string& path) {
    SectionParser parser;
    try {
        return parser.parse(text);
    } catch (const base::Error& error) {
        throw base::Error(fmt::format("{}:{}: {}", path, parser.line(), error.what()));
    }
}

std::optional<bool> parse_boolean(std::string_view text) {
    const auto lower = lower_case(text);
    for (const std::string_view yes : {"1", "on", "yes", "true"})
        if (lower == yes) return true;
    for (const std::string_view no : {"0", "off", "no", "false"})
        if (lower == no) return false;
    return std::nullopt;
}

}  // namespace vmad::pve
