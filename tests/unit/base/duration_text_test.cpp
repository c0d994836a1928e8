#include "base/duration_text.hpp"

#include <random>
#include <string>

#include <doctest/doctest.h>

#include "base/error.hpp"

using namespace vmad::base;

TEST_CASE("durations are a number and a unit") {
    CHECK(parse_duration("0s") == 0);
    CHECK(parse_duration("90s") == 90);
    CHECK(parse_duration("15min") == 15 * 60);
    CHECK(parse_duration("15 min") == 15 * 60);
    CHECK(parse_duration("2h") == 2 * 3600);
    CHECK(parse_duration("1d") == 86400);
    CHECK(parse_duration("007d") == 7 * 86400);
    CHECK(parse_duration("9223372036854775807s") == INT64_MAX);
    CHECK(parse_duration("106751991167300d") == INT64_MAX / 86400 * 86400);
}

TEST_CASE("what is no duration is refused with what to write") {
    for (const std::string text : {"",
                                   "0",
                                   "15",
                                   "min",
                                   "-1s",
                                   "+1s",
                                   " 1s",
                                   "1s ",
                                   "1  s",
                                   "1\ts",
                                   "1.5h",
                                   "1h30min",
                                   "1m",
                                   "1 ",
                                   "1H",
                                   "1S",
                                   "1sec",
                                   "1days",
                                   "0x1s",
                                   "99999999999999999999",
                                   "99999999999999999999m"}) {
        CAPTURE(text);
        CHECK_THROWS_WITH_AS(
            (void)parse_duration(text),
            ("\"" + text + "\" is no length of time: write a number and s, min, h or d, for example 15min")
                .c_str(),
            UsageError);
    }
    CHECK_THROWS_AS((void)parse_duration(std::string("1s\0", 3)), UsageError);
    for (const std::string text : {"9223372036854775808s", "18446744073709551616s", "106751991167301d",
                                   "153722867280912931min", "99999999999999999999 h"}) {
        CAPTURE(text);
        CHECK_THROWS_WITH_AS((void)parse_duration(text),
                             ("\"" + text + "\" is longer than anyone waits").c_str(), UsageError);
    }
}

TEST_CASE("a duration is spelled in the largest unit that fits") {
    for (const std::string text :
         {"0s", "1s", "59s", "1min", "61s", "90s", "90min", "1h", "23h", "1d", "25h", "400d"})
        CHECK(duration_text(parse_duration(text)) == text);
    CHECK(duration_text(parse_duration("60s")) == "1min");
    CHECK(duration_text(parse_duration("0d")) == "0s");
    CHECK(duration_text(parse_duration("48h")) == "2d");
}

TEST_CASE("law: a duration's text reads as the same duration") {
    std::mt19937_64 random(1);
    for (int i = 0; i < 10'000; ++i) {
        const auto seconds = static_cast<std::int64_t>(random() >> (1 + random() % 63));
        CAPTURE(seconds);
        CHECK(parse_duration(duration_text(seconds)) == seconds);
    }
    CHECK(parse_duration(duration_text(INT64_MAX)) == INT64_MAX);
}
