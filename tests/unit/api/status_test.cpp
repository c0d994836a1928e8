#include "api/status.hpp"

#include <string>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "generate.hpp"

using namespace vmad::api;
using nlohmann::json;

TEST_CASE("law: a status survives its JSON text") {
    Generate generate(2);
    for (int round = 0; round < 500; ++round) {
        const Status status = generate.status();
        CHECK(json::parse(json(status).dump()).get<Status>() == status);
    }
}

TEST_CASE("each state has its own count") {
    JobCounts counts;
    counts[JobState::waiting] = 3;
    CHECK(json(counts).dump() ==
          R"({"cancelled":0,"done":0,"failed":0,"publishing":0,"queued":0,"running":0,"unchanged":0,)"
          R"("vanished":0,"waiting":3})");
}

TEST_CASE("what holds the queue has its name") {
    CHECK(std::string(to_string(Hold::paused)) == "paused");
    CHECK(std::string(to_string(Hold::start_window)) == "start_window");
    CHECK(std::string(to_string(Hold::vzdump)) == "vzdump");
    CHECK_FALSE(json(Status{}).contains("hold"));
}

TEST_CASE("a bad status is refused with the field that is wrong") {
    const struct {
        const char* patch;
        const char* message;
    } table[] = {
        {R"({"version":null})", "status: version is missing"},
        {R"({"version":1})", "status: version is not a string"},
        {R"({"pid":null})", "status: pid is missing"},
        {R"({"pid":"1"})", "status: pid is not an integer"},
        {R"({"started_at":null})", "status: started_at is missing"},
        {R"({"state_dir":null})", "status: state_dir is missing"},
        {R"({"workers":-1})", "status: workers is out of range"},
        {R"({"counts":null})", "status: counts is missing"},
        {R"({"counts":1})", "counts is not an object"},
        {R"({"counts":{"failed":null}})", "counts: failed is missing"},
        {R"({"counts":{"failed":-1}})", "counts: failed is out of range"},
        {R"({"hold":1})", "status: hold is not a string"},
        {R"({"hold":"tired"})", "status: hold 'tired' is unknown"},
        {R"({"hold_until":"22:00"})", "status: hold_until is not an integer"},
        {R"({"oldest_at":[]})", "status: oldest_at is not an integer"},
        {R"({"totals":null})", "status: totals is missing"},
        {R"({"totals":[]})", "totals is not an object"},
        {R"({"active":null})", "status: active is missing"},
        {R"({"active":{}})", "status: active is not an array"},
        {R"({"active":[{}]})", "job: id is missing"},
        {R"({"recent":[1]})", "job is not an object"},
    };
    for (const auto& [patch, message] : table) {
        CAPTURE(std::string(patch));
        json bad = Status{};
        bad.merge_patch(json::parse(patch));
        CHECK_THROWS_WITH_AS(bad.get<Status>(), message, vmad::base::Error);
    }
    CHECK_THROWS_WITH_AS(json(1).get<Status>(), "status is not an object", vmad::base::Error);
}
