#include "pve/section_config.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

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

/// The TYPE and the ID of a header; nothing for every other line.
std::optional<std::pair<std::string_view, std::string_view>> parse_header(std::string_view line) {
    // TYPE may have colons, too.
    for (auto colon = line.rfind(':', line.find_first_of(kSpace)); colon != line.npos && colon != 0;
         colon = line.rfind(':', colon - 1)) {
        const auto id = trimmed(line.substr(colon + 1));
        if (!id.empty() && id.find_first_of(kSpace) == id.npos) return std::pair(line.substr(0, colon), id);
    }
    return std::nullopt;
}

class SectionParser {
  public:
    SectionParser(const std::string& path, const PropertyCheck& check) : path_(path), check_(check) {}

    Sections parse(std::string_view text) {
        while (!text.empty()) {
            ++line_;
            const auto end = std::min(text.find('\n'), text.size());
            parse_line(text.substr(0, end));
            text.remove_prefix(std::min(end + 1, text.size()));
        }
        return std::move(result_);
    }

  private:
    void parse_line(std::string_view line) {
        const auto content = trimmed(line);
        if (content.starts_with('#')) return;
        if (line.empty())
            in_section_ = false;
        else if (in_section_)
            add_property(line, content);
        else if (!content.empty())
            begin_section(line);
    }

    void begin_section(std::string_view line) {
        const auto header = parse_header(line);
        if (!header) return warn("ignored \"{}\", which does not begin a section (TYPE: ID)", trimmed(line));
        const auto& [type, id] = *header;
        auto& sections = result_.sections;
        const auto former =
            std::find_if(sections.begin(), sections.end(), [&id = id](const auto& s) { return s.id == id; });
        if (former != sections.end()) {
            warn("this section \"{}\" replaces the one of line {}", id, former->line);
            sections.erase(former);
        }
        sections.push_back(
            {.type = lower_case(type), .id = std::string(id), .line = line_, .properties = {}});
        in_section_ = true;
    }

    void add_property(std::string_view line, std::string_view content) {
        auto& section = result_.sections.back();
        if (content.empty())
            return warn("white space does not end section \"{}\"; an empty line does", section.id);
        if (line.front() == content.front())
            return warn("ignored \"{}\", which is not indented; an empty line ends section \"{}\"", content,
                        section.id);
        const auto end = std::min(content.find_first_of(kSpace), content.size());
        Property property{std::string(content.substr(0, end)), std::string(trimmed(content.substr(end))),
                          line_};
        if (section.find(property.key) != nullptr)
            return warn("ignored a second \"{}\" of \"{}\"", property.key, section.id);
        if (const auto wrong = check_(section, property); !wrong.empty())
            return warn("ignored \"{}\" of \"{}\": {}", property.key, section.id, wrong);
        section.properties.push_back(std::move(property));
    }

    template <typename... Values>
    void warn(fmt::format_string<Values...> text, Values&&... values) {
        result_.warnings.push_back(
            fmt::format("{}:{}: {}", path_, line_, fmt::format(text, std::forward<Values>(values)...)));
    }

    const std::string& path_;
    const PropertyCheck& check_;
    Sections result_;
    std::size_t line_ = 0;
    bool in_section_ = false;
};

}  // namespace

const Property* Section::find(std::string_view key) const {
    const auto found = std::find_if(properties.begin(), properties.end(),
                                    [&](const Property& property) { return property.key == key; });
    return found == properties.end() ? nullptr : &*found;
}

Sections parse_sections(std::string_view text, const std::string& path, const PropertyCheck& check) {
    return SectionParser(path, check).parse(text);
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
