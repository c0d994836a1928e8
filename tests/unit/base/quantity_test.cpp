#include "base/quantity.hpp"

#include <doctest/doctest.h>

using namespace vmad::base;

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
