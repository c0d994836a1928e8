#include "settings/start_window.hpp"

#include <cstdlib>
#include <filesystem>
#include <random>
#include <string>

#include <doctest/doctest.h>

#include "base/error.hpp"

using namespace vmad;
using namespace vmad::settings;

namespace {

// As POSIX spells zones: there need be no table of them.
const char* const kBerlin = "CET-1CEST,M3.5.0,M10.5.0/3";
const char* const kZones[] = {
    kBerlin,
    "UTC0",
    "IST-5:30",
    "EST5EDT,M3.2.0,M11.1.0",
    "LHST-10:30LHDT-11,M10.1.0,M4.1.0/2",  // by half an hour
    "<+1245>-12:45<+1345>,M9.5.0/2:45,M4.1.0/3:45",
    "<-03>3<-02>,M10.3.0/0,M2.3.0/0",   // at midnight
    "<-02>2<-01>,M3.5.0/-1,M10.5.0/0",  // on the evening before
};

/// The zone of the process while it lives.
class Zone {
  public:
    explicit Zone(const char* name) { set(name); }
    Zone(const Zone&) = delete;
    Zone& operator=(const Zone&) = delete;
    ~Zone() { set(nullptr); }

    /// Not noticed by localtime_r() alone.
    static void set(const char* name) { name != nullptr ? ::setenv("TZ", name, 1) : ::unsetenv("TZ"); }
};

/// "YYYY-MM-DD HH:MM:SS"
std::time_t utc(const char* text) {
    std::tm time{};
    const char* rest = ::strptime(text, "%Y-%m-%d %H:%M:%S", &time);
    REQUIRE(rest != nullptr);
    REQUIRE(*rest == '\0');
    return ::timegm(&time);
}

std::string utc_text(std::time_t moment) {
    char text[32];
    std::tm time{};
    ::gmtime_r(&moment, &time);
    REQUIRE(std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &time) != 0);
    return text;
}

}  // namespace

TEST_CASE("windows are spelled as two times") {
    CHECK(parse_start_window("22:00-06:00") == StartWindow{1320, 360});
    CHECK(parse_start_window("00:00-23:59") == StartWindow{0, 1439});
    CHECK(parse_start_window("23:59-00:00") == StartWindow{1439, 0});
    CHECK(parse_start_window("08:09-08:10").text() == "08:09-08:10");
    for (const auto* text : {"22:00-06:00", "00:00-00:01", "23:59-00:00", "00:00-23:59"})
        CHECK(parse_start_window(text).text() == text);
}

TEST_CASE("what is no window is refused with what to write") {
    for (const std::string text : {"",
                                   "-",
                                   "22:00",
                                   "22:00-",
                                   "22:00-6:00",
                                   "22-06",
                                   "22:00-06:00 ",
                                   " 22:00-06:00",
                                   "22:00 - 06:00",
                                   "24:00-06:00",
                                   "22:00-24:00",
                                   "22:60-06:00",
                                   "22:00-06:60",
                                   "22:00–06:00",
                                   "22.00-06.00",
                                   "2200-0600",
                                   "22:00_06:00",
                                   "+2:00-06:00",
                                   "-2:00-06:00",
                                   "22:-1-06:00",
                                   " 2:00-06:00",
                                   "22:0x-06:00",
                                   "2:000-06:00",
                                   "22:00-06:00:00",
                                   "aa:bb-cc:dd",
                                   "always"}) {
        CAPTURE(text);
        CHECK_THROWS_WITH_AS((void)parse_start_window(text),
                             ("\"" + text +
                              "\" is no window of the day: write two times from 00:00 to 23:59, for example "
                              "22:00-06:00")
                                 .c_str(),
                             base::UsageError);
    }
    CHECK_THROWS_WITH_AS((void)parse_start_window("06:00-06:00"),
                         "\"06:00-06:00\" begins when it ends: write two times that differ",
                         base::UsageError);
}

TEST_CASE("a window opens and closes by the local clock") {
    const Zone zone(kBerlin);
    const struct {
        const char* window;
        const char* now;
        const char* opening;  ///< the same as `now` where it is open
    } table[] = {
        // Summer, two hours ahead of UTC.
        {"22:00-06:00", "2026-07-01 19:59:59", "2026-07-01 20:00:00"},
        {"22:00-06:00", "2026-07-01 20:00:00", "2026-07-01 20:00:00"},
        {"22:00-06:00", "2026-07-01 21:59:59", "2026-07-01 21:59:59"},
        {"22:00-06:00", "2026-07-02 03:59:59", "2026-07-02 03:59:59"},
        {"22:00-06:00", "2026-07-02 04:00:00", "2026-07-02 20:00:00"},
        {"22:00-00:00", "2026-07-01 21:59:59", "2026-07-01 21:59:59"},
        {"22:00-00:00", "2026-07-01 22:00:00", "2026-07-02 20:00:00"},
        {"08:00-17:30", "2026-07-01 05:59:01", "2026-07-01 06:00:00"},
        {"08:00-17:30", "2026-07-01 15:29:59", "2026-07-01 15:29:59"},
        {"08:00-17:30", "2026-07-01 15:30:00", "2026-07-02 06:00:00"},
        // 29 March 2026: 02:00 becomes 03:00 at 01:00 UTC.
        {"22:00-06:00", "2026-03-28 06:00:00", "2026-03-28 21:00:00"},
        {"22:00-06:00", "2026-03-29 03:59:59", "2026-03-29 03:59:59"},
        {"22:00-06:00", "2026-03-29 04:00:00", "2026-03-29 20:00:00"},
        {"05:00-05:30", "2026-03-29 00:00:00", "2026-03-29 03:00:00"},
        {"03:00-03:01", "2026-03-29 00:59:59", "2026-03-29 01:00:00"},
        {"02:30-05:00", "2026-03-29 00:59:59", "2026-03-29 01:00:00"},
        {"01:30-02:30", "2026-03-29 00:59:59", "2026-03-29 00:59:59"},
        {"01:30-02:30", "2026-03-29 01:00:00", "2026-03-29 23:30:00"},
        {"02:10-02:50", "2026-03-28 01:09:00", "2026-03-28 01:10:00"},
        {"02:10-02:50", "2026-03-28 01:50:00", "2026-03-30 00:10:00"},
        {"02:10-02:50", "2026-03-29 00:59:59", "2026-03-30 00:10:00"},
        {"02:50-02:10", "2026-03-29 00:59:59", "2026-03-29 00:59:59"},
        {"02:50-02:10", "2026-03-29 01:00:00", "2026-03-29 01:00:00"},
        // 25 October 2026: 03:00 becomes 02:00 at 01:00 UTC.
        {"02:10-02:50", "2026-10-25 00:00:00", "2026-10-25 00:10:00"},
        {"02:10-02:50", "2026-10-25 00:49:59", "2026-10-25 00:49:59"},
        {"02:10-02:50", "2026-10-25 00:50:00", "2026-10-25 01:10:00"},
        {"02:10-02:50", "2026-10-25 01:50:00", "2026-10-26 01:10:00"},
        {"02:00-03:00", "2026-10-25 00:59:59", "2026-10-25 00:59:59"},
        {"02:00-03:00", "2026-10-25 01:00:00", "2026-10-25 01:00:00"},
        {"01:00-02:30", "2026-10-25 00:30:00", "2026-10-25 01:00:00"},
        {"03:00-02:00", "2026-10-25 00:30:00", "2026-10-25 02:00:00"},
        {"05:00-05:30", "2026-10-25 00:30:00", "2026-10-25 04:00:00"},
    };
    for (const auto& row : table) {
        CAPTURE(row.window);
        CAPTURE(row.now);
        const StartWindow window = parse_start_window(row.window);
        const auto now = utc(row.now);
        CHECK(window.contains(now) == (std::string(row.now) == row.opening));
        CHECK(utc_text(window.next_opening(now)) == row.opening);
    }
}

TEST_CASE("a change of the zone is noticed") {
    const Zone zone("UTC0");
    const StartWindow window = parse_start_window("12:00-13:00");
    const auto noon = utc("2026-01-01 12:00:00");
    CHECK(window.contains(noon));
    Zone::set("IST-5:30");
    CHECK_FALSE(window.contains(noon));
    CHECK(utc_text(window.next_opening(noon)) == "2026-01-02 06:30:00");
}

TEST_CASE("a zone that skips a whole day, and those in the system's table") {
    if (!std::filesystem::exists("/usr/share/zoneinfo/Pacific/Apia")) return;
    const StartWindow window = parse_start_window("22:00-06:00");
    {
        const Zone zone("Europe/Berlin");
        CHECK(utc_text(window.next_opening(utc("2026-03-29 04:00:00"))) == "2026-03-29 20:00:00");
    }
    const Zone zone("Pacific/Apia");  // no 30 December 2011: the clock went from UTC-10 to UTC+14
    CHECK(utc_text(window.next_opening(utc("2011-12-29 20:00:00"))) == "2011-12-30 08:00:00");
    CHECK(window.contains(utc("2011-12-30 10:00:00")));
    CHECK(utc_text(window.next_opening(utc("2011-12-30 16:00:00"))) == "2011-12-31 08:00:00");
}

TEST_CASE("law: it opens in the first minute that it contains, and is open as the clock says") {
    std::mt19937_64 random(1);
    for (const char* name : kZones) {
        const Zone zone(name);
        ::tzset();
        for (int i = 0; i < 200; ++i) {
            // Often narrow, in 2026, and often near a change of the clock: those are on Sundays.
            const auto begin = static_cast<unsigned>(random() % 1440);
            const auto length = 1 + static_cast<unsigned>((random() % 1439) >> (random() % 11));
            const StartWindow window{begin, (begin + length) % 1440};
            const std::time_t sunday =
                utc("2026-01-04 00:00:00") + static_cast<std::time_t>(random() % 52) * 7 * 86400;
            const std::time_t now = sunday - 86400 + static_cast<std::time_t>(random() % (3 * 86400));
            CAPTURE(name);
            CAPTURE(window.text());
            CAPTURE(utc_text(now));

            const auto is_open = [&](std::time_t moment) {
                std::tm local{};
                ::localtime_r(&moment, &local);
                const auto minute = static_cast<unsigned>(local.tm_hour * 60 + local.tm_min);
                return (minute + 1440 - begin) % 1440 < length;
            };
            std::time_t first = now;
            while (!is_open(first)) first += 60 - first % 60;
            CHECK(window.contains(now) == (first == now));
            CHECK(utc_text(window.next_opening(now)) == utc_text(first));
        }
    }
}
