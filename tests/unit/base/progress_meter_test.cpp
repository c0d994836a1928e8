#include "base/progress_meter.hpp"

#include <thread>
#include <utility>

#include <doctest/doctest.h>

using namespace vmad::base;
using namespace std::chrono_literals;

namespace {

constexpr ProgressMeter::Clock::time_point kStart{};

std::vector<WholeProgress> reports_of(std::vector<Stage> stages, const std::vector<Progress>& updates,
                                      std::chrono::milliseconds apart = 1s) {
    std::vector<WholeProgress> reports;
    ProgressMeter meter(std::move(stages), 250ms, [&](const auto& report) { reports.push_back(report); });
    auto now = kStart;
    for (const auto& update : updates) meter.update(update, now += apart);
    return reports;
}

void check_laws(const std::vector<WholeProgress>& reports) {
    std::uint64_t done = 0;
    unsigned percent = 0;
    unsigned ends = 0;
    for (const auto& report : reports) {
        CHECK(report.done_bytes >= std::exchange(done, report.done_bytes));
        if (report.total_bytes == 0) continue;
        CHECK(report.done_bytes <= report.total_bytes);
        const auto now = percent_of(report.done_bytes, report.total_bytes).value();
        CHECK(now >= std::exchange(percent, now));
        CHECK(now <= 100);
        ends += now == 100;
        if (report.remaining_seconds) CHECK(*report.remaining_seconds < 31 * 24 * 3600);
    }
    CHECK(ends == 1);
    CHECK(reports.back().done_bytes == reports.back().total_bytes);
}

/// A small generator, so that this layer needs no other.
struct Random {
    std::uint64_t state;
    std::uint64_t below(std::uint64_t limit) {
        state = state * 6364136223846793005 + 1442695040888963407;
        return (state >> 33) % limit;
    }
};

}  // namespace

TEST_CASE("a percentage is rounded down, and is 100 at the end only") {
    CHECK_FALSE(percent_of(5, 0));
    CHECK(percent_of(0, 7) == 0);
    CHECK(percent_of(21, 50) == 42);
    CHECK(percent_of((std::uint64_t{1} << 60) - 1, std::uint64_t{1} << 60) == 99);
    CHECK(percent_of(50, 50) == 100);
    CHECK(percent_of(60, 50) == 100);
}

TEST_CASE("reading and verifying are half of the whole each, one after the other or at once") {
    const auto after = reports_of({Stage::repacking, Stage::verifying}, {{Stage::repacking, 50, 100},
                                                                         {Stage::repacking, 100, 100, true},
                                                                         {Stage::verifying, 50, 100},
                                                                         {Stage::verifying, 100, 100, true}});
    REQUIRE(after.size() == 4);
    CHECK(after[0].done_bytes == 25);
    CHECK(after[0].stage == Stage::repacking);
    CHECK(after[1].done_bytes == 50);
    CHECK(after[1].stage == Stage::verifying);
    CHECK(after[2].done_bytes == 75);
    CHECK(after[3].done_bytes == 100);
    CHECK(after[3].total_bytes == 100);

    const auto behind = reports_of({Stage::repacking, Stage::verifying}, {{Stage::repacking, 50, 100},
                                                                          {Stage::verifying, 30, 0},
                                                                          {Stage::repacking, 100, 100, true},
                                                                          {Stage::verifying, 60, 80}});
    REQUIRE(behind.size() == 4);
    CHECK(behind[1].done_bytes == 40);
    CHECK(behind[2].done_bytes == 65);
    CHECK(behind[3].done_bytes == 160 * 100 / 180);
}

TEST_CASE("a stage that ends without a byte counts for nothing from then on") {
    const std::vector<Stage> stages{Stage::repacking, Stage::verifying, Stage::checking};
    const auto reports = reports_of(stages, {{Stage::repacking, 50, 100},
                                             {Stage::checking, 0, 0, true},
                                             {Stage::repacking, 100, 100, true},
                                             {Stage::verifying, 50, 100},
                                             {Stage::verifying, 100, 100, true}});
    REQUIRE(reports.size() == 5);
    CHECK(reports[0].done_bytes == 16);
    CHECK(reports[1].done_bytes == 25);
    CHECK(reports[2].done_bytes == 50);
    CHECK(reports[2].stage == Stage::verifying);
    CHECK(reports[3].done_bytes == 75);
    check_laws(reports);
    check_laws(reports_of(stages, {{Stage::checking, 0, 0, true},
                                   {Stage::repacking, 100, 100, true},
                                   {Stage::verifying, 100, 100, true}}));
    const auto thirds = reports_of(stages, {{Stage::repacking, 100, 100, true},
                                            {Stage::verifying, 100, 100, true},
                                            {Stage::checking, 50, 100},
                                            {Stage::checking, 100, 100, true}});
    REQUIRE(thirds.size() == 4);
    CHECK(thirds[1].done_bytes == 66);
    CHECK(thirds[1].stage == Stage::checking);
    CHECK(thirds[2].done_bytes == 83);
    check_laws(thirds);
}

TEST_CASE("reports come at an interval, and at once when a stage or the whole ends") {
    std::vector<WholeProgress> reports;
    ProgressMeter meter({Stage::repacking, Stage::verifying}, 250ms,
                        [&](const auto& report) { reports.push_back(report); });
    meter.update({Stage::repacking, 0, 100}, kStart);
    meter.update({Stage::repacking, 10, 100}, kStart + 100ms);
    CHECK(reports.size() == 1);
    meter.update({Stage::repacking, 20, 100}, kStart + 250ms);
    CHECK(reports.size() == 2);
    meter.update({Stage::repacking, 100, 100, true}, kStart + 251ms);
    CHECK(reports.size() == 3);
    meter.update({Stage::verifying, 90, 90, true}, kStart + 252ms);
    CHECK(reports.size() == 4);
    meter.update({Stage::verifying, 90, 90, true}, kStart + 10s);
    CHECK(reports.size() == 4);
    check_laws(reports);
}

TEST_CASE("the rate is that of the last seconds, and the time left goes by it") {
    std::vector<Progress> updates;
    for (std::uint64_t second = 0; second <= 40; ++second)  // fast for ten seconds, then slow
        updates.push_back({Stage::verifying, second < 10 ? 1000 * second : 9000 + 10 * second, 20000});
    const auto reports = reports_of({Stage::verifying}, updates);
    CHECK_FALSE(reports[1].remaining_seconds);
    CHECK(reports[2].remaining_seconds == 18);
    CHECK(reports.back().bytes_per_second == 10);
    CHECK(reports.back().remaining_seconds == (20000 - 9400) / 10);
}

TEST_CASE("what stands still has no time left that anybody knows") {
    const auto reports =
        reports_of({Stage::verifying}, std::vector<Progress>(30, {Stage::verifying, 10, UINT64_C(1) << 50}));
    CHECK(reports.back().bytes_per_second == 0);
    CHECK_FALSE(reports.back().remaining_seconds);
}

TEST_CASE("of a pipe the total is known when it has been read") {
    const auto reports =
        reports_of({Stage::repacking, Stage::verifying}, {{Stage::repacking, 50, 0},
                                                          {Stage::repacking, 90, 0},
                                                          {Stage::repacking, 100, 100, true},
                                                          {Stage::verifying, 70, 100},
                                                          {Stage::verifying, 100, 100, true}});
    CHECK(reports[1].total_bytes == 0);
    CHECK(reports[1].done_bytes == 45);
    CHECK(reports[2].total_bytes == 100);
    check_laws(reports);
}

TEST_CASE("law: whatever its stages report, the whole never falls back and ends once") {
    Random random{1};
    for (int round = 0; round < 500; ++round) {
        const auto source = 1 + random.below(1 << 20);
        const auto copy = 1 + random.below(3 * source);
        const bool is_pipe = random.below(4) == 0;
        const bool behind = random.below(2) == 0;
        std::vector<Progress> updates;
        std::uint64_t read = 0;
        std::uint64_t verified = 0;
        while (read < source) {
            read = std::min(source, read + random.below(source / 5 + 2));
            updates.push_back({Stage::repacking, read, is_pipe ? 0 : source});
            if (!behind) continue;
            verified = std::min(copy, verified + random.below(copy / 5 + 2));
            updates.push_back({Stage::verifying, verified, 0});
        }
        updates.push_back({Stage::repacking, source, source, true});
        while (verified < copy) {
            verified = std::min(copy, verified + random.below(copy / 5 + 2));
            updates.push_back({Stage::verifying, verified, copy});
        }
        updates.push_back({Stage::verifying, copy, copy, true});
        check_laws(reports_of({Stage::repacking, Stage::verifying}, updates,
                              std::chrono::milliseconds(random.below(2000))));
    }
}

TEST_CASE("law: two stages may report from two threads") {
    constexpr std::uint64_t kSteps = 20'000;
    std::vector<WholeProgress> reports;
    ProgressMeter meter({Stage::repacking, Stage::verifying}, 0ms,
                        [&](const auto& report) { reports.push_back(report); });
    const auto run = [&](Stage stage) {
        const auto sink = meter.sink();
        for (std::uint64_t done = 0; done < kSteps; ++done) sink({stage, done, kSteps});
        sink({stage, kSteps, kSteps, true});
    };
    std::thread other(run, Stage::verifying);
    run(Stage::repacking);
    other.join();
    check_laws(reports);
}
