#include "pve/section_config.hpp"

#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

namespace vmad::pve {
namespace {

std::string nothing_is_wrong(const Section&, const Property&) { return {}; }

std::vector<Section> parse(std::string_view text) {
    auto [sections, warnings] = parse_sections(text, "f", nothing_is_wrong);
    CHECK(warnings == std::vector<std::string>());
    return sections;
}

/// "TYPE:ID KEY=VALUE …", a section a line.
std::string shown(const std::vector<Section>& sections) {
    std::string text;
    for (const auto& section : sections) {
        text += section.type + ":" + section.id;
        for (const auto& property : section.properties) text += " " + property.key + "=" + property.value;
        text += "\n";
    }
    return text;
}

TEST_CASE("sections have a type, an id and properties") {
    const auto sections = parse(
        "# shared\n"
        "\n"
        "dir: local\n"
        "\tpath /var/lib/vz\n"
        "  # not now\n"
        "\tcontent iso,  backup \t\n"
        "    disable\n"
        "\n"
        "\n"
        "NFS:nas.1\n"
        "\toptions vers=3,soft");
    REQUIRE(sections.size() == 2);
    CHECK(sections[0].type == "dir");
    CHECK(sections[0].id == "local");
    CHECK(sections[0].line == 3);
    REQUIRE(sections[0].find("content") != nullptr);
    CHECK(sections[0].find("content")->value == "iso,  backup");
    CHECK(sections[0].find("content")->line == 6);
    CHECK(sections[0].find("disable")->value.empty());
    CHECK(sections[0].find("pat") == nullptr);
    CHECK(sections[1].type == "nfs");
    CHECK(sections[1].id == "nas.1");
    CHECK(sections[1].find("options")->value == "vers=3,soft");
}

TEST_CASE("an empty file has no sections") {
    for (const char* text : {"", "\n", "\n\n\n", "# nothing", " \t \n", "\r\n"}) CHECK(parse(text).empty());
}

TEST_CASE("what makes no sense is ignored with a warning, as Proxmox does, and the rest is used") {
    const struct {
        const char* text;
        std::vector<std::string> warnings;
        const char* sections;
    } cases[] = {
        {"local\n\ndir: a\n",
         {"f:1: ignored \"local\", which does not begin a section (TYPE: ID)"},
         "dir:a\n"},
        {"\n\n\tpath /x\n", {"f:3: ignored \"path /x\", which does not begin a section (TYPE: ID)"}, ""},
        {"dir:", {"f:1: ignored \"dir:\", which does not begin a section (TYPE: ID)"}, ""},
        {":local", {"f:1: ignored \":local\", which does not begin a section (TYPE: ID)"}, ""},
        {"dir : local", {"f:1: ignored \"dir : local\", which does not begin a section (TYPE: ID)"}, ""},
        {"dir: a b\ndir: c",
         {"f:1: ignored \"dir: a b\", which does not begin a section (TYPE: ID)"},
         "dir:c\n"},
        {"x:y: a\n", {}, "x:y:a\n"},
        {"dir:a\n", {}, "dir:a\n"},
        {"dir: a\nx 1\n\tpath /x\n",
         {"f:2: ignored \"x 1\", which is not indented; an empty line ends section \"a\""},
         "dir:a path=/x\n"},
        {"dir: a\n\tpath /x\ndir: b\n\tpath /y\n\nnfs: c\n",
         {"f:3: ignored \"dir: b\", which is not indented; an empty line ends section \"a\"",
          "f:4: ignored a second \"path\" of \"a\""},
         "dir:a path=/x\nnfs:c\n"},
        {"dir: a\n\tpath /x\n \t\n\tdisable\n\nnfs: b\n",
         {"f:3: white space does not end section \"a\"; an empty line does"},
         "dir:a path=/x disable=\nnfs:b\n"},
        {"dir: a\n\tpath /x\n\nnfs: b\n\npbs: a\n\tserver s\n",
         {"f:6: this section \"a\" replaces the one of line 1"},
         "nfs:b\npbs:a server=s\n"},
        {"dir: a\n\tk bad\n\tk good\n", {"f:2: ignored \"k\" of \"a\": \"bad\" is bad"}, "dir:a k=good\n"},
    };
    for (const auto& [text, warnings, sections] : cases) {
        CAPTURE(text);
        const auto result = parse_sections(text, "f", [](const Section&, const Property& property) {
            return std::string(property.value == "bad" ? "\"bad\" is bad" : "");
        });
        CHECK(result.warnings == warnings);
        CHECK(shown(result.sections) == sections);
    }
}

TEST_CASE("no cut of a file does anything but parse or warn") {
    const std::string text = "dir: local\n\tpath /var/lib/vz\n\n# x\nnfs: n\n\tserver s\n";
    for (std::size_t begin = 0; begin < text.size(); ++begin) {
        for (std::size_t end = begin; end <= text.size(); ++end) {
            const auto cut = std::string_view(text).substr(begin, end - begin);
            const auto [sections, warnings] = parse_sections(cut, "f", nothing_is_wrong);
            CHECK(sections.size() <= 2);
            for (const auto& warning : warnings) CHECK(warning.starts_with("f:"));
        }
    }
}

}  // namespace
}  // namespace vmad::pve
