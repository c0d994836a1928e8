#include "worker/progress_meter.hpp"

#include <doctest/doctest.h>

using namespace vmad;
using worker::ProgressMeter;
using namespace std::chrono_literals;

TEST_CASE("reports come at most four times a second, and with another stage at once") {
    ProgressMeter meter;
    const ProgressMeter::Clock::time_point start{};
    CHECK(meter.update({base::Stage::repacking, 0, 100}, start));
    CHECK_FALSE(meter.update({base::Stage::repacking, 10, 100}, start + 100ms));
    CHECK(meter.update({base::Stage::repacking, 20, 100}, start + 250ms));
    const auto verifying = meter.update({base::Stage::verifying, 0, 90}, start + 260ms);
    REQUIRE(verifying);
    CHECK(verifying->stage == "verifying");
    CHECK(verifying->bytes_per_second == 0);
    CHECK_FALSE(verifying->remaining_seconds);
}

TEST_CASE("the rate is that of the last seconds, and the rest is told by it") {
    ProgressMeter meter;
    const ProgressMeter::Clock::time_point start{};
    std::optional<api::JobProgress> report;
    for (std::uint64_t second = 0; second <= 20; ++second)  // fast for ten seconds, then slow
        report =
            meter.update({base::Stage::repacking, second < 10 ? 1000 * second : 9000 + 10 * second, 20000},
                         start + std::chrono::seconds(second));
    REQUIRE(report);
    CHECK(report->bytes_per_second == 10);
    CHECK(report->remaining_seconds == (20000 - 9200) / 10);
}
