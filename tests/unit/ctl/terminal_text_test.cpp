#include <cstdlib>
#include <ctime>

#include <doctest/doctest.h>

#include "ctl/text/local_time.hpp"
#include "ctl/text/printable_text.hpp"
#include "ctl/text/progress_bar.hpp"
#include "ctl/text/text_table.hpp"
#include "support/random.hpp"

using namespace vmad::ctl;

namespace {

/// A console that is no terminal and has this width.
Console console_of(const char* columns) {
    ::setenv("COLUMNS", columns, 1);
    const Console console;
    ::unsetenv("COLUMNS");
    return console;
}

std::vector<std::string> lines(const std::string& text) {
    std::vector<std::string> result;
    for (std::size_t at = 0; at < text.size();) {
        const auto end = text.find('\n', at);
        REQUIRE(end != text.npos);
        result.push_back(text.substr(at, end - at));
        at = end + 1;
    }
    return result;
}

}  // namespace

TEST_CASE("what is no printable UTF-8 is shown by its bytes") {
    struct Row {
        std::string text;
        std::string shown;
    };
    const Row rows[] = {
        {"plain name.vma", "plain name.vma"},
        {"größe → 日本 🙂", "größe → 日本 🙂"},
        {"a\x1b[2Jb", "a\\x1b[2Jb"},
        {"two\nlines\r\t", "two\\x0alines\\x0d\\x09"},
        {std::string("nul\0", 4), "nul\\x00"},
        {"del\x7f", "del\\x7f"},
        {"c1 \xc2\x9b", "c1 \\xc2\\x9b"},
        {"\xc2\xa0", "\xc2\xa0"},
        {"latin1 \xe4", "latin1 \\xe4"},
        {"cut \xe2\x86", "cut \\xe2\\x86"},
        {"lead then text \xc3"
         "A",
         "lead then text \\xc3A"},
        {"stray \x80", "stray \\x80"},
        {"overlong \xc0\xaf", "overlong \\xc0\\xaf"},
        {"overlong \xe0\x80\xaf", "overlong \\xe0\\x80\\xaf"},
        {"overlong \xf0\x80\x80\xaf", "overlong \\xf0\\x80\\x80\\xaf"},
        {"surrogate \xed\xa0\x80", "surrogate \\xed\\xa0\\x80"},
        {"too large \xf4\x90\x80\x80", "too large \\xf4\\x90\\x80\\x80"},
        {"\xff\xfe", "\\xff\\xfe"},
    };
    for (const auto& row : rows) CHECK(printable(row.text) == row.shown);
}

TEST_CASE("a locale without UTF-8 gets ASCII alone") {
    const char* names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    const struct {
        const char* values[3];  ///< of the three, as far as they are set
        bool is_utf8;
    } rows[] = {
        {{nullptr, nullptr, nullptr}, false}, {{"C", nullptr, "de_DE.UTF-8"}, false},
        {{"", "C.utf8", "C"}, true},          {{nullptr, nullptr, "en_US.UTF-8"}, true},
        {{"C.UTF-8", "C", "C"}, true},        {{nullptr, "POSIX", "C.UTF-8"}, false},
    };
    for (const auto& row : rows) {
        for (std::size_t i = 0; i < 3; ++i)
            row.values[i] != nullptr ? ::setenv(names[i], row.values[i], 1) : ::unsetenv(names[i]);
        CHECK(locale_is_utf8() == row.is_utf8);
        CHECK(
            in_locale("1 MiB → 2 MiB, a…b, größe\n") ==
            (row.is_utf8 ? "1 MiB → 2 MiB, a…b, größe\n" : "1 MiB -> 2 MiB, a~b, gr\\xc3\\xb6\\xc3\\x9fe\n"));
    }
    for (const auto* name : names) ::unsetenv(name);
    ::setenv("LC_ALL", "C.UTF-8", 1);
}

TEST_CASE("printable text stays as it is, whatever bytes it was made of") {
    vmad::testing::Random random(1);
    for (int i = 0; i < 2000; ++i) {
        std::string text(random.below(20), '\0');
        for (auto& byte : text) byte = static_cast<char>(random.below(256));
        const auto shown = printable(text);
        CHECK(printable(shown) == shown);
    }
}

TEST_CASE("a long text loses its middle, and keeps more of its end") {
    CHECK(shorten("abc", 3) == "abc");
    CHECK(shorten("abcd", 3) == "…cd");
    CHECK(shorten("abcdefghij", 7) == "ab…ghij");
    CHECK(shorten("größen→wahn", 7) == "gr…wahn");
    CHECK(shorten("abc", 1) == "…");
}

TEST_CASE("a shortened text has exactly the width that was asked for") {
    const std::string text = "/mnt/pve/größe/dump/vzdump-qemu-100-日本.vma";
    for (std::size_t width = 1; width < 60; ++width) {
        const auto shown = shorten(text, width);
        CHECK(text_width(shown) == std::min(width, text_width(text)));
        CHECK(printable(shown) == shown);
    }
}

TEST_CASE("a table aligns its columns and drops spaces at the ends of lines") {
    ::setenv("LC_ALL", "C.UTF-8", 1);
    TextTable table({{"NAME"}, {"SIZE", TextTable::Align::right}, {"NOTE"}});
    table.add({{"a"}, {"12 B"}, {""}});
    table.add({{"größe"}, {"1.5 GiB"}, {"x\ny"}});
    CHECK(table.render(console_of("80")) ==
          "NAME      SIZE  NOTE\n"
          "a         12 B\n"
          "größe  1.5 GiB  x\\x0ay\n");
}

TEST_CASE("a table fits every width that its stiff columns leave") {
    TextTable table({{"ID", TextTable::Align::right},
                     {"ARCHIVE", TextTable::Align::left, true},
                     {"WHY", TextTable::Align::left, true}});
    table.add({{"17"}, {std::string(100, 'p')}, {std::string(30, 'w')}});
    table.add({{"18"}, {"short"}, {""}});
    for (const auto* columns : {"200", "138", "137", "100", "80", "50", "30"}) {
        const auto console = console_of(columns);
        for (const auto& line : lines(table.render(console))) CHECK(text_width(line) <= console.width());
    }
    // Too narrow: a shortened text still tells something.
    for (const auto& line : lines(table.render(console_of("20")))) CHECK(text_width(line) <= 30);
}

TEST_CASE("COLUMNS gives the width, nonsense gives 80") {
    CHECK(console_of("123").width() == 123);
    CHECK(console_of("5").width() == 20);
    CHECK(console_of("0").width() == console_of("x").width());
    CHECK(console_of("-7").width() == console_of("").width());
}

TEST_CASE("a wrapped text loses nothing but spaces at its breaks") {
    CHECK(wrapped("", 10).empty());
    CHECK(wrapped("one two three", 13) == std::vector<std::string>{"one two three"});
    CHECK(wrapped("one two three", 7) == std::vector<std::string>{"one two", "three"});
    CHECK(wrapped("größe→ab c", 6) == std::vector<std::string>{"größe→", "ab c"});
    vmad::testing::Random random(5);
    for (int round = 0; round < 500; ++round) {
        std::string text;
        for (auto words = 1 + random.below(12); words > 0; --words)
            text +=
                std::string(1 + random.below(30), static_cast<char>('a' + words)) + (words > 1 ? " " : "");
        const auto width = 1 + random.below(40);
        std::string whole;
        for (const auto& line : wrapped(text, width)) {
            CHECK(text_width(line) <= width);
            CHECK_FALSE(line.empty());
            whole += line;
        }
        std::erase(whole, ' ');
        std::erase(text, ' ');
        CHECK(whole == text);
    }
}

TEST_CASE("a note of a table wraps, and a column that drops goes where shrinking is not enough") {
    TextTable table(
        {{"ID"}, {.title = "GUEST", .shrinks = true, .keeps_begin = true}, {.title = "SIZE", .drops = true}});
    table.add({{"1"}, {"a-long-name"}, {"3.7 GiB"}});
    table.add_note("a reason of more than twenty columns");
    CHECK(table.render(console_of("80")) ==
          "ID  GUEST        SIZE\n1   a-long-name  3.7 GiB\n    a reason of more than twenty columns\n");
    CHECK(table.render(console_of("20")) ==
          "ID  GUEST    SIZE\n1   a-long…  3.7 GiB\n    a reason of more\n    than twenty\n    columns\n");
}

TEST_CASE("a progress line tells what is known") {
    const auto line = [](ProgressView view, std::size_t width) { return progress_line(view, width); };
    CHECK(line({"VM 104", 21, 50, 0, {}}, 40) == "VM 104  42 % [#####        ] 21 of 50 B");
    CHECK(line({"VM 104", 50, 50, 50 << 20, 0}, 60) ==
          "VM 104 100 % [#############] 50 of 50 B, 50 MiB/s, 0 s left");
    CHECK(line({"VM 104", 0, 1000, 0, 90}, 60) ==
          "VM 104   0 % [               ] 0 of 1000 B, 1 min 30 s left");
    CHECK(line({"VM 104", 3 << 20, 0, 1 << 20, {}}, 80) == "VM 104 3.0 MiB, 1.0 MiB/s");
    CHECK(line({"VM 104", 21 << 20, 50 << 20, 5 << 20, 6}, 36) == "VM 104  42 % 5.0 MiB/s, 6 s left");
    CHECK(line({"a long name of an archive.vma", 21, 50, 0, {}}, 24) == "a long name of a…  42 %");
    CHECK(numbered_label(1, 1, "VM 104") == "VM 104");
    CHECK(numbered_label(2, 5, "VM 104") == "2 of 5: VM 104");
}

TEST_CASE("a progress line never reaches the last column") {
    const ProgressView view{"2 of 5: VM 104 web, 2026-01-31 02:00", std::uint64_t{7} << 40,
                            std::uint64_t{9} << 40, 212 << 20, 3720};
    for (std::size_t width = 20; width < 200; ++width) CHECK(text_width(progress_line(view, width)) < width);
    CHECK(progress_line(view, 80).find("7.0 of 9.0 TiB, 212 MiB/s") == std::string::npos);
    CHECK(progress_line(view, 90).find("7.0 of 9.0 TiB, 212 MiB/s, 1 h 2 min left") != std::string::npos);
}

TEST_CASE("times are local, with their offset") {
    ::setenv("TZ", "XYZ-5:30", 1);
    ::tzset();
    CHECK(iso_local_time(0) == "1970-01-01T05:30:00+05:30");
    CHECK(iso_local_time(1709208309) == "2024-02-29T17:35:09+05:30");
    CHECK(clock_time(1709208309) == "17:35:09");
    CHECK(iso_local_time(UINT64_MAX) == "@18446744073709551615");
    CHECK(clock_time(INT64_MAX) == "@9223372036854775807");
    CHECK(relative_and_iso_time(0, 60) == "1 min ago, 1970-01-01T05:30:00+05:30");
    ::unsetenv("TZ");
    ::tzset();
}

TEST_CASE("a time as seen from now has one unit") {
    struct Row {
        std::int64_t then;
        std::int64_t now;
        const char* text;
    };
    const Row rows[] = {
        {100, 100, "now"},
        {99, 100, "1 s ago"},
        {101, 100, "in 1 s"},
        {0, 59, "59 s ago"},
        {0, 60, "1 min ago"},
        {0, 3599, "59 min ago"},
        {0, 3600, "1 h ago"},
        {0, 86399, "23 h ago"},
        {0, 86400, "1 d ago"},
        {86400 * 400, 0, "in 400 d"},
        {-3600, 3600, "2 h ago"},
        {INT64_MIN, INT64_MAX, "213503982334601 d ago"},
        {INT64_MAX, INT64_MIN, "in 213503982334601 d"},
    };
    for (const auto& row : rows) CHECK(relative_time(row.then, row.now) == row.text);
}

TEST_CASE("a note stands below its row and fits the terminal") {
    TextTable table({{"ID", TextTable::Align::right}, {"NAME"}});
    table.add({{"1"}, {"a"}});
    table.add_note("full\nhere");
    table.add({{"2"}, {"b"}});
    table.add_note("");
    CHECK(table.render(console_of("80")) == "ID  NAME\n 1  a\n    full\\x0ahere\n 2  b\n");
    table.add_note(std::string(100, 'x') + "end");
    const auto rendered = lines(table.render(console_of("40")));
    for (const auto& line : rendered) CHECK(text_width(line) <= 40);
    CHECK(rendered.back() == "    " + std::string(28, 'x') + "end");
}
