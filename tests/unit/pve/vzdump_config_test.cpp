#include "pve/vzdump_config.hpp"

#include <algorithm>
#include <regex>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "support/random.hpp"

namespace vmad::pve {
namespace {

const std::string kOurs = "/etc/vmad/vzdump-hook";

std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> lines;
    for (std::size_t at = 0; at <= text.size();) {
        const auto end = std::min(text.find('\n', at), text.size());
        lines.push_back(text.substr(at, end - at));
        at = end + 1;
    }
    return lines;
}

/// With regular expressions, as vzdump does it.
std::string script_by_regex(const std::string& text) {
    static const std::regex kTrimmed("^[\\s]*([^]*?)[\\s]*$");
    static const std::regex kPair("^(\\S+?):\\s*([^]*)$");
    std::string script;
    for (const auto& line : lines_of(text)) {
        std::smatch match;
        REQUIRE(std::regex_match(line, match, kTrimmed));
        const std::string content = match[1];
        if (content.starts_with('#') || !std::regex_match(content, match, kPair)) continue;
        if (match[1] == "script") script = match[2];
    }
    return script;
}

/// Lines as administrators write them, and as nobody should.
std::string random_text(testing::Random& random) {
    static const std::vector<std::string> kPieces{"script: /usr/local/bin/a.sh",
                                                  "script:/b",
                                                  "script:  /c d \t",
                                                  "\tscript: /e",
                                                  "script:",
                                                  "script: ",
                                                  "script:\v/f\f",
                                                  "#script: /no",
                                                  "  # script: /no",
                                                  "script : /no",
                                                  "scripts: /no",
                                                  "Script: /no",
                                                  "script:: /odd",
                                                  ":script: /no",
                                                  "script: # no comment",
                                                  "x script: /no",
                                                  "tmpdir: /tmp",
                                                  "storage: local",
                                                  "bwlimit: 1000 ",
                                                  "",
                                                  "  ",
                                                  "exclude-path: \"/a\" script: /no",
                                                  "script: " + kOurs,
                                                  "script: \"/quoted\"",
                                                  "script: /a script: /b",
                                                  "\xff\xfe",
                                                  std::string("nul\0", 4)};
    std::string text;
    for (auto count = random.below(8); count > 0; --count) {
        text += kPieces[random.below(kPieces.size())];
        if (random.below(4) == 0) text += '\r';
        if (count > 1 || random.below(3) != 0) text += '\n';
    }
    return text;
}

TEST_CASE("the script is what vzdump takes for it") {
    const struct {
        const char* text;
        const char* script;
    } cases[] = {
        {"", ""},
        {"\n\n", ""},
        {"script: /a", "/a"},
        {"script:/a\n", "/a"},
        {"  script:\t/a b  \r\n", "/a b"},
        {"script: /a\nscript: /b\nbwlimit: 1\n", "/b"},
        {"script: /a\nscript:\n", ""},
        {"script: /a # not a comment\n", "/a # not a comment"},
        {"script: \"/a\"\n", "\"/a\""},
        {"#script: /a\n  #script: /a\n", ""},
        {"script : /a\nscripts: /a\nSCRIPT: /a\n:script: /a\nx script: /a\n", ""},
        {"script::/a", ":/a"},
        {"tmpdir: /x script: /a\n", ""},
    };
    for (const auto& [text, script] : cases) {
        CAPTURE(text);
        CHECK(vzdump_script(text) == script);
        CHECK(script_by_regex(text) == script);
    }
}

TEST_CASE("a script is put where there is one, or at the end") {
    const struct {
        const char* text;
        const char* changed;
    } cases[] = {
        {"", "script: /n\n"},
        {"\n", "\nscript: /n\n"},
        {"a: b\n", "a: b\nscript: /n\n"},
        {"a: b", "a: b\nscript: /n"},
        {"a: b\r\n", "a: b\r\nscript: /n\n"},
        {"a: b\r\nscript:  /o \r\nc: d\r\n", "a: b\r\nscript:  /n \r\nc: d\r\n"},
        {"script:/o", "script:/n"},
        {"script: /o\nscript: /p\n", "script: /o\nscript: /n\n"},
        {"script: /o\nscript: \n", "script: /o\nscript: \nscript: /n\n"},
        {"#script: /o\n", "#script: /o\nscript: /n\n"},
    };
    for (const auto& [text, changed] : cases) {
        CAPTURE(text);
        CHECK(with_vzdump_script(text, "/n") == changed);
        CHECK(vzdump_script(changed) == "/n");
    }
}

TEST_CASE("a script is taken away with its line") {
    CHECK(without_vzdump_script("script: /a\n") == "");
    CHECK(without_vzdump_script("script: /a") == "");
    CHECK(without_vzdump_script("a: b\n script: /a\r\nc: d") == "a: b\nc: d");
    CHECK(without_vzdump_script("script: /a\nscript: /b\n") == "script: /a\n");
    CHECK(without_vzdump_script("a: b\r\nscript: /a") == "a: b\r");
    CHECK(without_vzdump_script("a: b\n") == "a: b\n");
}

TEST_CASE("law: what was enabled is disabled to the byte, and in between only one line differs") {
    testing::Random random(1);
    unsigned count = 0;
    for (int round = 0; round < 20'000; ++round) {
        const auto text = random_text(random);
        CAPTURE(text);
        const std::string before(vzdump_script(text));
        REQUIRE(before == script_by_regex(text));
        if (before == kOurs) continue;
        ++count;
        const auto enabled = with_vzdump_script(text, kOurs);
        REQUIRE(vzdump_script(enabled) == kOurs);
        REQUIRE(script_by_regex(enabled) == kOurs);
        const auto disabled =
            before.empty() ? without_vzdump_script(enabled) : with_vzdump_script(enabled, before);
        REQUIRE(disabled == text);

        auto old_lines = lines_of(text);
        auto new_lines = lines_of(enabled);
        if (before.empty()) {
            // One more, the last that is not empty.
            const auto added = std::find(new_lines.rbegin(), new_lines.rend(), "script: " + kOurs);
            REQUIRE(added != new_lines.rend());
            new_lines.erase(std::next(added).base());
            REQUIRE(new_lines == old_lines);
        } else {
            REQUIRE(new_lines.size() == old_lines.size());
            std::size_t different = 0;
            for (std::size_t i = 0; i < old_lines.size(); ++i) different += old_lines[i] != new_lines[i];
            REQUIRE(different == 1);
        }
    }
    CHECK(count > 10'000);
}

TEST_CASE("only what vzdump would read unchanged can be a script") {
    for (const std::string path : {"/a", "/", "/a b", "/a#b", "/a:b", "/\xff"}) {
        CAPTURE(path);
        CHECK(can_be_vzdump_script(path));
        CHECK(vzdump_script(with_vzdump_script("", path)) == path);
    }
    for (const std::string path : {"", "a", "./a", " /a", "\"/a\"", "/a ", "/a\r", "/a\nb"}) {
        CAPTURE(path);
        CHECK_FALSE(can_be_vzdump_script(path));
    }
    CHECK_FALSE(can_be_vzdump_script(std::string("/a\0b", 4)));
}

}  // namespace
}  // namespace vmad::pve
