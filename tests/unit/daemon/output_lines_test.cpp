#include "daemon/output_lines.hpp"

#include <vector>

#include <doctest/doctest.h>

#include "support/random.hpp"

using vmad::daemon::OutputLines;
using Lines = std::vector<std::string>;

namespace {

/// The lines of a text that comes in parts of at most `max_part` bytes.
Lines lines_of(const std::string& text, std::size_t max_part, vmad::testing::Random& random) {
    Lines result;
    OutputLines lines([&](std::string_view line) { result.emplace_back(line); });
    for (std::size_t at = 0; at < text.size();) {
        const auto part = text.substr(at, 1 + random.below(max_part));
        lines.add(part);
        at += part.size();
    }
    lines.finish();
    return result;
}

Lines lines_of(const std::string& text) {
    vmad::testing::Random random(0);
    return lines_of(text, text.size() + 1, random);
}

}  // namespace

TEST_CASE("lines come without their end, and empty ones do not come") {
    CHECK(lines_of("").empty());
    CHECK(lines_of("\n\n").empty());
    CHECK(lines_of("one\n\ntwo\n") == Lines{"one", "two"});
    CHECK(lines_of("one\ntwo without an end") == Lines{"one", "two without an end"});
    CHECK(lines_of(std::string("with\0NUL\r\n", 10)) == Lines{std::string("with\0NUL\r", 9)});
}

TEST_CASE("a line is cut only when it is longer than the limit") {
    const std::string fits(OutputLines::kMaxLineBytes, 'x');
    CHECK(lines_of(fits + "\nnext\n") == Lines{fits, "next"});
    CHECK(lines_of(fits + "y\nnext\n") == Lines{fits + "…", "next"});
    CHECK(lines_of(fits + fits + fits) == Lines{fits + "…"});
}

TEST_CASE("of many lines the first ones come, and that there were more") {
    std::string text;
    for (std::size_t i = 0; i < OutputLines::kMaxLines; ++i) text += "line\n";
    CHECK(lines_of(text) == Lines(OutputLines::kMaxLines, "line"));
    for (int i = 0; i < 100000; ++i) text += "more\n";
    auto expected = Lines(OutputLines::kMaxLines, "line");
    expected.emplace_back("(further output is not logged)");
    CHECK(lines_of(text) == expected);
}

TEST_CASE("however the bytes are portioned, the lines are the same") {
    vmad::testing::Random random(1);
    for (int round = 0; round < 200; ++round) {
        std::string text;
        for (std::uint64_t i = random.below(150); i > 0; --i) {
            text += std::string(random.chance(0.1) ? 900 + random.below(300) : random.below(20), 'a');
            text += '\n';
        }
        CHECK(lines_of(text, 1 + random.below(2000), random) == lines_of(text));
    }
}
