#include <cstdint>
#include <string>

#include <doctest/doctest.h>

#include "queue/transition.hpp"

using namespace vmad::queue;

TEST_CASE("after a transient failure the wait doubles from 1 min to 1 h") {
    const std::int64_t minutes[] = {1, 2, 4, 8, 16, 32, 60, 60, 60};
    std::uint32_t tries = 0;
    for (const auto expected : minutes) CHECK(transient_delay(++tries) == expected * 60);
    CHECK(transient_delay(0) == 60);
    CHECK(transient_delay(UINT32_MAX) == 3600);
}

TEST_CASE("a job that lacks something is looked at after 1 min, growing to 10 min") {
    // From look to look, as it comes about when each one fails at once.
    const std::int64_t expected[] = {60, 60, 120, 240, 480, 600, 600, 600};
    std::int64_t age = 0;
    for (const auto delay : expected) {
        CHECK(condition_delay(age) == delay);
        age += delay;
    }
    // A clock that was set back, or far ahead.
    CHECK(condition_delay(-1000000) == 60);
    CHECK(condition_delay(INT64_MAX) == 600);
}

TEST_CASE("a copy that was refused room is tried after 1 h, doubling to a day") {
    const std::int64_t hours[] = {1, 2, 4, 8, 16, 24, 24};
    std::uint32_t times = 0;
    for (const auto expected : hours) CHECK(space_refusal_delay(++times) == expected * 3600);
    CHECK(space_refusal_delay(UINT32_MAX) == 24 * 3600);
}

TEST_CASE("the warnings of all attempts stand, each once and not without end") {
    vmad::api::Job job;
    vmad::api::WorkerResult result;
    result.state = vmad::api::JobState::waiting;
    result.waiting_for = vmad::api::WaitReason::retry;
    for (const auto* warning : {"two reads differ", "", "a file is left", "two reads differ"}) {
        begin_run(job, 0);
        result.warning = warning;
        apply_result(job, result, 0);
    }
    CHECK(job.warning == "two reads differ; a file is left");
    const std::string first = "two reads of " + std::string(4096, 'a') + " differ";
    job.warning.clear();
    for (const std::string& warning : {first, std::string(), std::string("a file is left")}) {
        result.warning = warning;
        apply_result(job, result, 0);
    }
    CHECK(job.warning == first + "; a file is left");
    for (int i = 0; i < 1000; ++i) {
        result.warning = "number " + std::to_string(i);
        apply_result(job, result, 0);
    }
    CHECK(job.warning.size() < 10100);
    CHECK(job.warning.ends_with("number 999"));
}
