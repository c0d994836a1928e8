#include "ctl/text/text_plot.hpp"

#include <cstdlib>

#include <doctest/doctest.h>

#include "ctl/text/printable_text.hpp"
#include "support/random.hpp"

using namespace vmad;
using namespace vmad::ctl;

namespace {

/// The locale of one test.
class Locale {
  public:
    explicit Locale(const char* name) { ::setenv("LC_ALL", name, 1); }
    ~Locale() { ::unsetenv("LC_ALL"); }
    Locale(const Locale&) = delete;
    Locale& operator=(const Locale&) = delete;
};

std::uint64_t random_bytes(testing::Random& random) { return random.next() >> random.below(64); }

std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> lines;
    for (std::size_t at = 0; at < text.size();) {
        const auto end = text.find('\n', at);
        REQUIRE(end != text.npos);
        lines.push_back(text.substr(at, end - at));
        at = end + 1;
    }
    return lines;
}

}  // namespace

TEST_CASE("law: an axis ends at a round size, not far above the largest value") {
    testing::Random random(1);
    for (int round = 0; round < 10'000; ++round) {
        const auto largest = random_bytes(random) >> 5;
        const auto limit = axis_limit(largest);
        CHECK(limit >= largest);
        if (largest > 1) CHECK(limit / 5 * 2 <= largest);
    }
    CHECK(axis_limit(0) == 1);
    CHECK(axis_limit(UINT64_MAX) == UINT64_MAX);
    CHECK(axis_limit(501) == 1024);
    CHECK(axis_limit(UINT64_C(3) << 30) == UINT64_C(5) << 30);
}

TEST_CASE("a line goes from low to high, and says where there is nothing") {
    const Locale utf8("C.UTF-8");
    CHECK(spark_line({0, 1, std::nullopt, 50, 100}, 10) == "▁▂ ▅█");
    CHECK(spark_line({0, 0}, 10) == "▁▁");
    CHECK(spark_line({}, 10).empty());
    CHECK(spark_line({UINT64_MAX, 1}, 10) == "█▂");
    const Locale ascii("C");
    CHECK(spark_line({0, 1, std::nullopt, 50, 100}, 10) == "_. =#");
}

TEST_CASE("law: a line is as wide as it may be, and its highest mark stands for the largest sum") {
    testing::Random random(2);
    const Locale utf8("C.UTF-8");
    for (int round = 0; round < 1000; ++round) {
        std::vector<std::optional<std::uint64_t>> values(1 + random.below(100));
        for (auto& value : values)
            if (random.below(4) != 0) value = 1 + random.below(1 << 20);
        const auto width = 1 + random.below(40);
        const auto line = spark_line(values, width);
        CHECK(text_width(line) <= width);
        CHECK(text_width(line) >= std::min<std::size_t>(values.size(), (width + 1) / 2));
        const bool has_some = line.find_first_not_of(' ') != line.npos;
        CHECK((line.find("█") != line.npos) == has_some);
    }
}

TEST_CASE("law: columns fit, whatever they stand for") {
    testing::Random random(3);
    for (const auto* name : {"C.UTF-8", "C"}) {
        const Locale locale(name);
        for (int round = 0; round < 500; ++round) {
            std::vector<PlotColumn> columns(1 + random.below(40));
            for (auto& column : columns)
                column = {random.below(2) == 0 ? "27 Nov" : "31 Dec 2025", random_bytes(random) >> 4};
            columns[0].bytes = 1;
            const auto width = 20 + random.below(100);
            const auto lines = lines_of(column_plot(columns, 5, width));
            if (width >= 12 + 2 * columns.size()) REQUIRE(lines.size() == 6);
            for (const auto& line : lines) {
                CHECK(text_width(line) <= width);
                CHECK(in_locale(line) == line);
            }
        }
    }
}

TEST_CASE("columns with an axis and labels") {
    const std::vector<PlotColumn> columns{{"1 Nov", 0}, {"2 Nov", 1}, {"3 Nov", 1 << 19}, {"4 Nov", 1 << 20}};
    const Locale utf8("C.UTF-8");
    CHECK(column_plot(columns, 2, 24) ==
          " 1.0 MiB │         ██\n"
          "       0 │   ▁▁ ██ ██\n"
          "          1 Nov 3 Nov\n");
    const Locale ascii("C");
    CHECK(column_plot(columns, 2, 24) ==
          " 1.0 MiB |         ##\n"
          "       0 |   __ ## ##\n"
          "          1 Nov 3 Nov\n");
    CHECK(column_plot({{"1 Nov", 0}, {"2 Nov", 0}}, 2, 80).empty());
    CHECK(column_plot(columns, 2, 16).empty());
    CHECK(column_plot({}, 2, 80).empty());
}
