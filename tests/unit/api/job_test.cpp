#include "api/job.hpp"

#include <string>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "base/json_fields.hpp"
#include "generate.hpp"

using namespace vmad::api;
using nlohmann::json;

TEST_CASE("law: a job survives its JSON text") {
    Generate generate(1);
    for (int round = 0; round < 2000; ++round) {
        const Job job = generate.job();
        CHECK(json::parse(json(job).dump()).get<Job>() == job);
    }
}

TEST_CASE("the JSON form of a job") {
    Job job;
    job.id = 17;
    job.path = "/dump/a.vma";
    job.queued_at = 5;
    CHECK(json(job).dump() ==
          R"({"announced":false,"attempts":0,"failed_attempts":0,"id":17,"path":"/dump/a.vma","queued_at":5,)"
          R"("run_again":false,"state":"queued"})");
    job.state = JobState::running;
    job.progress = JobProgress{"verifying", 1, 2, 3, 4};
    job.recovery = "{}";
    job.waiting_for = WaitReason::grace_period;
    job.vmid = 100;
    const json form = job;
    CHECK(form["waiting_for"] == "grace_period");
    CHECK(form["vmid"] == 100);
    CHECK_FALSE(form.contains("warning"));
    CHECK_FALSE(form.contains("storage"));
    CHECK(form["recovery"] == json::object());
    CHECK(
        form["progress"].dump() ==
        R"({"bytes_per_second":3,"done_bytes":1,"remaining_seconds":4,"stage":"verifying","total_bytes":2})");
}

TEST_CASE("the states have names, and five of them are final") {
    int ends = 0;
    for (std::size_t i = 0; i < kJobStateNames.size(); ++i) {
        const auto state = static_cast<JobState>(i);
        CHECK(job_state_from_string(to_string(state)) == state);
        ends += is_final(state) ? 1 : 0;
    }
    CHECK(ends == 5);
    CHECK(std::string(to_string(JobState::queued)) == "queued");
    CHECK(std::string(to_string(JobState::cancelled)) == "cancelled");
    CHECK(is_final(JobState::done));
    CHECK_FALSE(is_final(JobState::waiting));
    CHECK_THROWS_WITH_AS(static_cast<void>(job_state_from_string("Queued")), "there is no state 'Queued'",
                         vmad::base::Error);
    CHECK_THROWS_WITH_AS(static_cast<void>(job_state_from_string("")), "there is no state ''",
                         vmad::base::Error);
}

TEST_CASE("every reason to wait has its name") {
    for (std::size_t i = 0; i < kWaitReasonNames.size(); ++i) {
        Job job;
        job.id = 1;
        job.path = "/a";
        job.waiting_for = static_cast<WaitReason>(i);
        CHECK(json(job)["waiting_for"] == kWaitReasonNames[i]);
        CHECK(json(job).get<Job>() == job);
    }
    CHECK(std::string(to_string(WaitReason::retry)) == "retry");
    CHECK(std::string(to_string(WaitReason::too_recent)) == "too_recent");
}

TEST_CASE("a bad job is refused with the field that is wrong") {
    const struct {
        const char* patch;  ///< merged into a good job; null removes a field
        const char* message;
    } table[] = {
        {R"({"id":null})", "job: id is missing"},
        {R"({"id":"1"})", "job: id is not an integer"},
        {R"({"id":1.0})", "job: id is not an integer"},
        {R"({"id":true})", "job: id is not an integer"},
        {R"({"id":0})", "job: id is out of range"},
        {R"({"id":-1})", "job: id is out of range"},
        {R"({"id":9223372036854775808})", "job: id is out of range"},
        {R"({"id":18446744073709551616})", "job: id is not an integer"},
        {R"({"path":null})", "job: path is missing"},
        {R"({"path":7})", "job: path is not a string"},
        {R"({"path":""})", "job: path is not absolute"},
        {R"({"path":"a.vma"})", "job: path is not absolute"},
        {R"({"path":"/a\u0000.vma"})", "job: path is not absolute"},
        {R"({"state":null})", "job: state is missing"},
        {R"({"state":1})", "job: state is not a string"},
        {R"({"state":"sleeping"})", "job: state 'sleeping' is unknown"},
        {R"({"reason":[]})", "job: reason is not a string"},
        {R"({"waiting_for":7})", "job: waiting_for is not a string"},
        {R"({"waiting_for":"godot"})", "job: waiting_for 'godot' is unknown"},
        {R"({"warning":{}})", "job: warning is not a string"},
        {R"({"storage":false})", "job: storage is not a string"},
        {R"({"vmid":"100"})", "job: vmid is not an integer"},
        {R"({"vmid":-1})", "job: vmid is out of range"},
        {R"({"announced":null})", "job: announced is missing"},
        {R"({"announced":"yes"})", "job: announced is not a boolean"},
        {R"({"announced":1})", "job: announced is not a boolean"},
        {R"({"queued_at":null})", "job: queued_at is missing"},
        {R"({"queued_at":"now"})", "job: queued_at is not an integer"},
        {R"({"queued_at":9223372036854775808})", "job: queued_at is out of range"},
        {R"({"started_at":"now"})", "job: started_at is not an integer"},
        {R"({"ended_at":{}})", "job: ended_at is not an integer"},
        {R"({"end_number":-1})", "job: end_number is out of range"},
        {R"({"end_number":"last"})", "job: end_number is not an integer"},
        {R"({"retry_at":false})", "job: retry_at is not an integer"},
        {R"({"attempts":null})", "job: attempts is missing"},
        {R"({"attempts":-1})", "job: attempts is out of range"},
        {R"({"attempts":4294967296})", "job: attempts is out of range"},
        {R"({"failed_attempts":null})", "job: failed_attempts is missing"},
        {R"({"failed_attempts":1e3})", "job: failed_attempts is not an integer"},
        {R"({"run_again":null})", "job: run_again is missing"},
        {R"({"run_again":0})", "job: run_again is not a boolean"},
        {R"({"size_before":-1})", "job: size_before is out of range"},
        {R"({"size_after":"1 GiB"})", "job: size_after is not an integer"},
        {R"({"mount_point":1})", "job: mount_point is not a string"},
        {R"({"recovery":[]})", "job: recovery is not an object"},
        {R"({"recovery":""})", "job: recovery is not an object"},
        {R"({"progress":[]})", "progress is not an object"},
        {R"({"progress":{}})", "progress: stage is missing"},
        {R"({"progress":{"stage":"sleeping"}})", "progress: stage 'sleeping' is unknown"},
        {R"({"progress":{"stage":"verifying"}})", "progress: done_bytes is missing"},
        {R"({"progress":{"stage":"verifying","done_bytes":-1}})", "progress: done_bytes is out of range"},
        {R"({"progress":{"stage":"verifying","done_bytes":1,"total_bytes":"?"}})",
         "progress: total_bytes is not an integer"},
        {R"({"progress":{"stage":"verifying","done_bytes":1,"total_bytes":2}})",
         "progress: bytes_per_second is missing"},
        {R"({"progress":{"stage":"verifying","done_bytes":1,"total_bytes":2,"bytes_per_second":0,)"
         R"("remaining_seconds":-5}})",
         "progress: remaining_seconds is out of range"},
    };
    Job good;
    good.id = 1;
    good.path = "/a";
    for (const auto& [patch, message] : table) {
        CAPTURE(std::string(patch));
        json bad = good;
        bad.merge_patch(json::parse(patch));
        CHECK_THROWS_WITH_AS(bad.get<Job>(), message, vmad::base::Error);
    }
    CHECK_THROWS_WITH_AS(json::array().get<Job>(), "job is not an object", vmad::base::Error);
    CHECK_THROWS_WITH_AS(json().get<Job>(), "job is not an object", vmad::base::Error);
}

TEST_CASE("a bad job leaves the target as it was, and unknown fields do no harm") {
    Job good;
    good.id = 1;
    good.path = "/a";
    json form = good;
    form["invented_later"] = {1, 2};
    form["reason"] = nullptr;
    CHECK(form.get<Job>() == good);
    form["run_again"] = 1;
    form["id"] = 2;
    Job target = good;
    CHECK_THROWS_AS(form.get_to(target), vmad::base::FieldError);
    CHECK(target == good);
}
