#include <algorithm>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "api/status.hpp"
#include "base/error.hpp"
#include "generate.hpp"

using namespace vmad::api;
using nlohmann::json;

namespace {

Job ended(std::uint64_t number, JobState state, std::int64_t took = 0) {
    Job job;
    job.id = number;
    job.path = "/a";
    job.state = state;
    job.end_number = number;
    job.started_at = 1000;
    job.ended_at = 1000 + took;
    return job;
}

std::uint64_t jobs_in(const Totals& totals) {
    return totals.done + totals.unchanged + totals.vanished + totals.failed + totals.cancelled;
}

}  // namespace

TEST_CASE("law: totals survive their JSON text") {
    Generate generate(11);
    for (int round = 0; round < 500; ++round) {
        const Totals totals = generate.totals();
        CHECK(json::parse(json(totals).dump()).get<Totals>() == totals);
    }
}

TEST_CASE("each end is counted where it belongs") {
    Totals totals;
    auto done = ended(1, JobState::done, 70);
    done.size_before = 1000;
    done.size_after = 900;
    totals.add(done);
    CHECK(totals.done == 1);
    CHECK(totals.bytes_before == 1000);
    CHECK(totals.bytes_after == 900);
    CHECK(totals.duration_seconds == 70);
    CHECK(totals.durations[3] == 1);
    CHECK(totals.last_success_at == 1070);
    totals.add(ended(2, JobState::unchanged, 80));
    CHECK(totals.unchanged == 1);
    CHECK(totals.last_success_at == 1080);
    CHECK_FALSE(totals.last_failure_at);
    totals.add(ended(3, JobState::failed, 90));
    CHECK(totals.failed == 1);
    CHECK(totals.last_failure_at == 1090);
    totals.add(ended(4, JobState::vanished, 100));
    totals.add(ended(5, JobState::cancelled, 110));
    CHECK(totals.vanished == 1);
    CHECK(totals.cancelled == 1);
    CHECK(totals.last_success_at == 1080);
    CHECK(totals.last_failure_at == 1090);
    // Sizes and durations are of the jobs that were done only.
    CHECK(totals.bytes_before == 1000);
    CHECK(std::accumulate(totals.durations.begin(), totals.durations.end(), std::uint64_t{0}) == 1);
}

TEST_CASE("law: however often a spool is read again, each end is counted once") {
    Generate generate(12);
    for (int round = 0; round < 200; ++round) {
        std::vector<Job> jobs;
        const auto count = 1 + generate.below(30);
        for (std::uint64_t number = 1; number <= count; ++number)
            jobs.push_back(ended(number, static_cast<JobState>(4 + generate.below(5)),
                                 static_cast<std::int64_t>(generate.below(100000))));
        Totals once;
        for (const Job& job : jobs) once.add(job);
        CHECK(jobs_in(once) == count);
        CHECK(once.counted == count);
        // A crash between two of them, at any place: what was counted is read back, and all are offered
        // again.
        Totals before;
        const auto crash = generate.below(count + 1);
        for (std::uint64_t i = 0; i < crash; ++i) before.add(jobs[i]);
        auto again = json::parse(json(before).dump()).get<Totals>();
        for (const Job& job : jobs) again.add(job);
        CHECK(again == once);
    }
}

TEST_CASE("a duration is in the first class that has room for it") {
    for (std::size_t i = 0; i < kDurationLimits.size(); ++i) {
        Totals totals;
        totals.add(ended(1, JobState::done, kDurationLimits[i]));
        totals.add(ended(2, JobState::done, kDurationLimits[i] + 1));
        CHECK(totals.durations[i] == 1);
        CHECK(totals.durations[i + 1] == 1);
    }
    // The clock was set back, or the start is not known.
    Totals totals;
    totals.add(ended(1, JobState::done, -500));
    auto job = ended(2, JobState::done, 500);
    job.started_at.reset();
    totals.add(job);
    CHECK(totals.durations[0] == 2);
    CHECK(totals.duration_seconds == 0);
}

TEST_CASE("what has not ended is not counted") {
    Totals totals;
    auto job = ended(1, JobState::failed);
    job.end_number.reset();
    totals.add(job);
    CHECK(totals == Totals{});
    CHECK_THROWS_WITH_AS(totals.add(ended(1, JobState::waiting)), "only jobs that have ended are counted",
                         vmad::base::Error);
}

TEST_CASE("bad totals are refused with the field that is wrong") {
    const struct {
        const char* patch;
        const char* message;
    } table[] = {
        {R"({"done":null})", "totals: done is missing"},
        {R"({"failed":-1})", "totals: failed is out of range"},
        {R"({"bytes_before":"1"})", "totals: bytes_before is not an integer"},
        {R"({"durations":null})", "totals: durations is missing"},
        {R"({"durations":7})", "totals: durations is not an array"},
        {R"({"durations":[]})", "totals: durations has not the classes of this version"},
        {R"({"durations":[0,0,0,0,0,0,0,0,0,-1]})", "totals: durations is out of range"},
        {R"({"duration_seconds":null})", "totals: duration_seconds is missing"},
        {R"({"last_success_at":"now"})", "totals: last_success_at is not an integer"},
        {R"({"last_failure_at":{}})", "totals: last_failure_at is not an integer"},
        {R"({"counted":null})", "totals: counted is missing"},
    };
    for (const auto& [patch, message] : table) {
        CAPTURE(std::string(patch));
        json bad = Totals{};
        bad.merge_patch(json::parse(patch));
        Totals target;
        target.done = 5;
        CHECK_THROWS_WITH_AS(bad.get_to(target), message, vmad::base::Error);
        CHECK(target.done == 5);
    }
    CHECK_THROWS_WITH_AS(json(1).get<Totals>(), "totals is not an object", vmad::base::Error);
}

TEST_CASE("law: verify jobs are counted apart, each where it belongs") {
    Generate generate(13);
    for (int round = 0; round < 200; ++round) {
        Totals both;
        Totals repacks;
        VerifyTotals expected;
        const auto count = 1 + generate.below(30);
        for (std::uint64_t number = 1; number <= count; ++number) {
            auto job = ended(number, static_cast<JobState>(4 + generate.below(5)),
                             static_cast<std::int64_t>(generate.below(1000)));
            job.size_before = job.size_after = generate.below(1000);
            if (generate.coin()) {
                both.add(job);
                repacks.add(job);
                continue;
            }
            job.kind = JobKind::verify;
            job.damaged = job.state == JobState::failed && generate.coin();
            both.add(job);
            const bool is_good = job.state == JobState::done || job.state == JobState::unchanged;
            expected.good += is_good ? 1 : 0;
            expected.damaged += job.damaged ? 1 : 0;
            expected.failed += job.state == JobState::failed && !job.damaged ? 1 : 0;
            expected.vanished += job.state == JobState::vanished ? 1 : 0;
            expected.cancelled += job.state == JobState::cancelled ? 1 : 0;
            if (is_good) expected.last_good_at = job.ended_at;
            if (job.damaged) expected.last_damaged_at = job.ended_at;
            if (!is_good && !job.damaged) continue;
            expected.bytes += *job.size_before;
            expected.duration_seconds += static_cast<std::uint64_t>(*job.ended_at - *job.started_at);
        }
        CHECK(both.verify == expected);
        CHECK(jobs_in(both) == jobs_in(repacks));
        both.verify = {};
        both.counted = repacks.counted;
        CHECK(both == repacks);
    }
}
