#include "base/units.hpp"

#include <random>
#include <string>

#include <doctest/doctest.h>

#include "base/error.hpp"

using namespace vmad::base;

TEST_CASE("sizes are numbers with an optional unit") {
    CHECK(parse_size("0") == 0);
    CHECK(parse_size("512") == 512);
    CHECK(parse_size("64K") == 65536);
    CHECK(parse_size("256M") == std::uint64_t{256} << 20);
    CHECK(parse_size("3G") == std::uint64_t{3} << 30);
    CHECK(parse_size("18446744073709551615") == UINT64_MAX);
    CHECK(parse_size("17179869183G") == UINT64_MAX - (std::uint64_t{1} << 30) + 1);
}

TEST_CASE("what is no size is refused with what to write") {
    for (const auto* text : {"", "M", "-1", "+1", " 1", "1 ", "1.5G", "1k", "1MB", "1T", "0x10", "G1", "1\n"})
        CHECK_THROWS_WITH_AS(
            (void)parse_size(text),
            (std::string("invalid size \"") + text + "\": write a number and K, M or G, for example 256M")
                .c_str(),
            vmad::base::UsageError);
    for (const auto* text :
         {"18446744073709551616", "18446744073709551616G", "17179869184G", "99999999999999999K"})
        CHECK_THROWS_WITH_AS((void)parse_size(text),
                             (std::string("size \"") + text + "\" is out of range").c_str(),
                             vmad::base::UsageError);
}

TEST_CASE("a size is spelled so that it reads as the same") {
    for (const auto* text : {"0", "1", "1023", "1K", "1025", "16M", "64G", "1024G", "17179869183G"})
        CHECK(spell_size(parse_size(text)) == text);
    CHECK(spell_size(std::uint64_t{256} << 20) == "256M");
}

TEST_CASE("durations are numbers with units") {
    const std::pair<const char*, std::int64_t> spellings[] = {
        {"0s", 0},
        {"0", 0},
        {"15", 15},
        {"14400", 14400},
        {"90s", 90},
        {"90sec", 90},
        {"1 second", 1},
        {"90 seconds", 90},
        {"15min", 15 * 60},
        {"15 min", 15 * 60},
        {"5m", 5 * 60},
        {"5minutes", 5 * 60},
        {"2h", 2 * 3600},
        {"2hours", 2 * 3600},
        {"1d", 86400},
        {"7days", 7 * 86400},
        {"007d", 7 * 86400},
        {"1w", 7 * 86400},
        {"2 weeks", 14 * 86400},
        {"1h30min", 5400},
        {"1h 30m", 5400},
        {"1 h 30 min", 5400},
        {"1w2d3h4m5s", 7 * 86400 + 2 * 86400 + 3 * 3600 + 4 * 60 + 5},
        {"9223372036854775807s", INT64_MAX},
        {"106751991167300d", INT64_MAX / 86400 * 86400}};
    for (const auto& [text, seconds] : spellings) {
        CAPTURE(text);
        CHECK(parse_duration(text) == seconds);
    }
}

TEST_CASE("what is no duration is refused with what to write") {
    for (const std::string text : {"",      "min",   "-1s",    "+1s", " 1s",    "1s ",      "1  s", "1\ts",
                                   "1.5h",  "1 ",    "1H",     "1S",  "1month", "0x1s",     "15 ",  "1h30",
                                   "1h,2m", "1h-2m", "1h  2m", "h1",  "1hmin",  "1min min", "1ms",  "1y"}) {
        CAPTURE(text);
        CHECK_THROWS_WITH_AS((void)parse_duration(text),
                             ("invalid duration \"" + text +
                              "\": write numbers and s, min, h, d or w, for example 15min or 1h30min")
                                 .c_str(),
                             UsageError);
    }
    CHECK_THROWS_AS((void)parse_duration(std::string("1s\0", 3)), UsageError);
    for (const std::string text : {"9223372036854775808s", "18446744073709551616s", "106751991167301d",
                                   "153722867280912931min", "99999999999999999999 h", "99999999999999999999",
                                   "9223372036854775807s1s", "18446744073709551615s1s"}) {
        CAPTURE(text);
        CHECK_THROWS_WITH_AS((void)parse_duration(text),
                             ("duration \"" + text + "\" is out of range").c_str(), UsageError);
    }
}

TEST_CASE("a duration is spelled in the largest unit that fits") {
    for (const std::string text :
         {"0s", "1s", "59s", "1min", "61s", "90s", "90min", "1h", "23h", "1d", "25h", "400d"})
        CHECK(spell_duration(parse_duration(text)) == text);
    CHECK(spell_duration(parse_duration("60s")) == "1min");
    CHECK(spell_duration(parse_duration("0d")) == "0s");
    CHECK(spell_duration(parse_duration("48h")) == "2d");
}

TEST_CASE("law: a duration's text reads as the same duration") {
    std::mt19937_64 random(1);
    for (int i = 0; i < 10'000; ++i) {
        const auto seconds = static_cast<std::int64_t>(random() >> (1 + random() % 63));
        CAPTURE(seconds);
        CHECK(parse_duration(spell_duration(seconds)) == seconds);
    }
    CHECK(parse_duration(spell_duration(INT64_MAX)) == INT64_MAX);
}

TEST_CASE("a size has at most three significant digits and a binary unit") {
    CHECK(format_size(0) == "0 B");
    CHECK(format_size(1023) == "1023 B");
    CHECK(format_size(1024) == "1.0 KiB");
    CHECK(format_size(10 * 1024) == "10 KiB");
    CHECK(format_size(1024 * 1024 - 1) == "1.0 MiB");
    CHECK(format_size(3882496) == "3.7 MiB");
    CHECK(format_size(UINT64_MAX) == "16 EiB");
}

TEST_CASE("a rate is a size per second") {
    using std::chrono::duration;
    CHECK(format_rate(1 << 20, duration<double>(2)) == "512 KiB/s");
    CHECK(format_rate(1, duration<double>(0)) == "-");
}

TEST_CASE("a duration shows its two largest units") {
    using std::chrono::seconds;
    CHECK(format_duration(seconds(0)) == "0 s");
    CHECK(format_duration(seconds(-5)) == "0 s");
    CHECK(format_duration(seconds(59)) == "59 s");
    CHECK(format_duration(seconds(60)) == "1 min");
    CHECK(format_duration(seconds(200)) == "3 min 20 s");
    CHECK(format_duration(seconds(3600 * 2 + 60 * 5 + 7)) == "2 h 5 min");
    CHECK(format_duration(seconds(86400 * 3 + 3600 * 4)) == "3 d 4 h");
}

TEST_CASE("a rough duration shows its largest unit only") {
    CHECK(format_rough_duration(0) == "0 s");
    CHECK(format_rough_duration(59) == "59 s");
    CHECK(format_rough_duration(119) == "1 min");
    CHECK(format_rough_duration(7199) == "1 h");
    CHECK(format_rough_duration(86400 * 3 + 86399) == "3 d");
}
