#include <time.h>

#include <cstdlib>
#include <string>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include "base/error.hpp"
#include "ctl/text/local_time.hpp"

using namespace vmad;
using ctl::since_time;

namespace {

constexpr std::int64_t kNow = 1'769'864'400;  // 2026-01-31 13:00:00 UTC
constexpr std::int64_t kDay = 86400;

/// The local time zone of one test.
class Zone {
  public:
    explicit Zone(const char* name) { set(name); }
    ~Zone() { set("UTC"); }
    Zone(const Zone&) = delete;
    Zone& operator=(const Zone&) = delete;

  private:
    static void set(const char* name) {
        ::setenv("TZ", name, 1);
        ::tzset();
    }
};

}  // namespace

TEST_CASE("a date is local time") {
    const Zone utc("UTC");
    CHECK(since_time("2026-01-31", kNow) == kNow - 13 * 3600);
    CHECK(since_time("2026-01-31 13:00", kNow) == kNow);
    CHECK(since_time("2026-01-31 13:00:07", kNow) == kNow + 7);
    CHECK(since_time("1970-01-01", kNow) == 0);
    CHECK(since_time("2024-02-29", kNow) == 1'709'164'800);
    {
        const Zone east("XST-2");
        CHECK(since_time("2026-01-31 13:00", kNow) == kNow - 2 * 3600);
        CHECK(since_time("7d", kNow) == kNow - 7 * kDay);
    }
    {
        const Zone summer("XST-1XDT,M3.5.0,M10.5.0/3");
        CHECK(since_time("2026-01-31 13:00", kNow) == kNow - 3600);
        CHECK(since_time("2026-07-31 13:00", kNow) == kNow + 181 * kDay - 2 * 3600);
        // The hour that the clock skips is the one before or after it.
        const auto skipped = since_time("2026-03-29 02:30", kNow) - since_time("2026-03-29", kNow);
        CHECK((skipped == 3600 + 1800 || skipped == 2 * 3600 + 1800));
    }
}

TEST_CASE("a length of time counts from now") {
    CHECK(since_time("7d", kNow) == kNow - 7 * kDay);
    CHECK(since_time("12h", kNow) == kNow - kDay / 2);
    CHECK(since_time("30min", kNow) == kNow - 1800);
    CHECK(since_time("90s", kNow) == kNow - 90);
    CHECK(since_time("1d12h", kNow) == kNow - kDay * 3 / 2);
    CHECK(since_time("1w", kNow) == kNow - 7 * kDay);
    CHECK(since_time("0s", kNow) == kNow);
    CHECK(since_time("100000d", kNow) == kNow - 100000 * kDay);
}

TEST_CASE("what is no time is refused") {
    for (const std::string text : {"",
                                   " ",
                                   "7",
                                   "d",
                                   "-7d",
                                   "7y",
                                   "7dd",
                                   "yesterday",
                                   "2026",
                                   "2026-01",
                                   "2026-13-01",
                                   "2026-02-30",
                                   "2026-04-31",
                                   "2026-00-10",
                                   "2026-01-31 ",
                                   "2026-01-31 1",
                                   "2026-01-31 24:00",
                                   "2026-01-31 12:60",
                                   "2026-01-31 12:00:00.5",
                                   "2026-01-31T12:00",
                                   "2026-01-31 12:00Z",
                                   "31.01.2026",
                                   "01/31/2026",
                                   "99999999999999999999d"}) {
        CAPTURE(text);
        const auto message = fmt::format(
            "invalid time \"{}\": use 2026-01-31, \"2026-01-31 12:00\", or an age such as 7d", text);
        CHECK_THROWS_WITH_AS((void)since_time(text, kNow), message.c_str(), base::UsageError);
    }
}

TEST_CASE("days are those of the calendar, also when the clock is set") {
    const Zone berlin("Europe/Berlin");
    const auto noon = since_time("2026-03-29 12:00", kNow);  // of a day of 23 hours
    CHECK(ctl::day_begin(noon) == since_time("2026-03-29", kNow));
    CHECK(ctl::day_begin(noon, 1) - ctl::day_begin(noon) == 23 * 3600);
    CHECK(ctl::day_begin(noon, -29) == since_time("2026-02-28", kNow));
    CHECK(ctl::day_begin(noon, 365) == since_time("2027-03-29", kNow));
    CHECK(ctl::day_text(noon, kNow) == "29 Mar");
    CHECK(ctl::day_text(since_time("2026-02-01", kNow), kNow) == "1 Feb");
    CHECK(ctl::day_text(since_time("2025-12-31", kNow), kNow) == "31 Dec 2025");
    CHECK(ctl::day_text(INT64_MAX, kNow) == "@9223372036854775807");
}
