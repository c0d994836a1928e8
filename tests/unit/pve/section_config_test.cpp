#include "pve/section_config.hpp"

#include <string>

#include <doctest/doctest.h>

#include "base/error.hpp"

namespace vmad::pve {
namespace {

TEST_CASE("sections have a type, an id and properties") {
    const auto sections = parse_sections(
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
        "\toptions vers=3,soft",
        "f");
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
    for (const char* text : {"", "\n", "\n\n\n", "# nothing", " \t \n", "\r\n"})
        CHECK(parse_sections(text, "f").empty());
}

TEST_CASE("a line that makes no sense is named") {
    const struct {
        const char* text;
        const char* message;
    } cases[] = {
        {"local", "f:1: \"local\" does not begin a section: TYPE: ID"},
        {"\n\n\tpath /x", "f:3: \"\tpath /x\" does not begin a section: TYPE: ID"},
        {"dir:", "f:1: \"dir:\" does not begin a section: TYPE: ID"},
        {":local", "f:1: \":local\" does not begin a section: TYPE: ID"},
        {"dir : local", "f:1: \"dir : local\" does not begin a section: TYPE: ID"},
        {"dir: a b", "f:1: \"dir: a b\" does not begin a section: TYPE: ID"},
        {"dir: a\npath /x\n",
         "f:2: \"path /x\" is not indented, so it is not a property of \"a\"; an empty line ends a section"},
        {"dir: a\n\tpath /x\ndir: b\n",
         "f:3: \"dir: b\" is not indented, so it is not a property of \"a\"; an empty line ends a section"},
        {"dir: a\n\tpath /x\n\tpath /y\n", "f:3: \"a\" has a second \"path\""},
        {"dir: a\n\npbs: a\n", "f:3: duplicate section \"a\""},
    };
    for (const auto& [text, message] : cases) {
        CAPTURE(text);
        CHECK_THROWS_WITH_AS(parse_sections(text, "f"), message, base::Error);
    }
}

TEST_CASE("no cut of a file does anything but parse or complain") {
    const std::string text = "dir: local\n\tpath /var/lib/vz\n\n# x\nnfs: n\n\tserver s\n";
    for (std::size_t begin = 0; begin < text.size(); ++begin) {
        for (std::size_t end = begin; end <= text.size(); ++end) {
            try {
                const auto sections = parse_sections(std::string_view(text).substr(begin, end - begin), "f");
                CHECK(sections.size() <= 2);
            } catch (const base::Error& error) {
                CHECK(std::string_view(error.what()).starts_with("f:"));
            }
        }
    }
}

}  // namespace
}  // namespace vmad::pve
