#include "daemon/job_log.hpp"

#include <doctest/doctest.h>

#include "log_capture.hpp"

using namespace vmad;
using api::JobState;
using Lines = std::vector<std::string>;

namespace {

api::Job some_job(JobState state) {
    api::Job job;
    job.id = 17;
    job.path = "/dump/a.vma";
    job.state = state;
    return job;
}

/// The lines about a job, outside of the journal.
Lines logged(const api::Job& job) {
    daemon::LogCapture capture;
    daemon::log_job(job);
    return capture.take();
}

}  // namespace

TEST_CASE("a line for each state that somebody may look for") {
    struct Row {
        JobState state;
        Lines expected;
    };
    const std::vector<Row> rows{
        {JobState::queued, {"info: job 17: queued: /dump/a.vma"}},
        {JobState::running, {"info: job 17: started: /dump/a.vma"}},
        {JobState::publishing, {}},
        {JobState::unchanged, {"info: job 17: unchanged: /dump/a.vma"}},
        {JobState::vanished, {"info: job 17: vanished: /dump/a.vma"}},
        {JobState::cancelled, {"info: job 17: cancelled: /dump/a.vma"}},
    };
    for (const auto& row : rows) CHECK(logged(some_job(row.state)) == row.expected);
}

TEST_CASE("what waits and what failed says why") {
    auto job = some_job(JobState::failed);
    job.reason = "it is damaged";
    CHECK(logged(job) == Lines{"error: job 17: failed: /dump/a.vma: it is damaged"});
    job = some_job(JobState::waiting);
    job.reason = "there is no room";
    job.waiting_for = api::WaitReason::space;
    CHECK(logged(job) == Lines{"warning: job 17: waiting: /dump/a.vma: there is no room"});
    job.waiting_for = api::WaitReason::grace_period;
    CHECK(logged(job) == Lines{"info: job 17: waiting: /dump/a.vma: there is no room"});
}

TEST_CASE("what is done says sizes, duration and rate") {
    auto job = some_job(JobState::done);
    job.size_before = std::uint64_t{30} << 30;
    job.size_after = std::uint64_t{15} << 30;
    job.started_at = 1000;
    job.ended_at = 1120;
    CHECK(logged(job) == Lines{"info: job 17: done: /dump/a.vma: 30 GiB -> 15 GiB in 2 min, 256 MiB/s"});
    job.ended_at = 1000;
    CHECK(logged(job) == Lines{"info: job 17: done: /dump/a.vma: 30 GiB -> 15 GiB in 0 s"});
    job.since = {.archive = "b.vma", .archive_at = 500, .new_bytes = 37 << 20};
    CHECK(logged(job) ==
          Lines{"info: job 17: done: /dump/a.vma: 30 GiB -> 15 GiB in 0 s, 37 MiB new since b.vma"});
    job.state = JobState::unchanged;
    CHECK(logged(job) == Lines{"info: job 17: unchanged: /dump/a.vma: 37 MiB new since b.vma"});
}

TEST_CASE("a path cannot make up lines or steer a terminal") {
    auto job = some_job(JobState::failed);
    job.path = "/a\nerror: job 18: failed\x1b[2J\x7f/ü";
    job.reason = "two\nlines";
    CHECK(logged(job) ==
          Lines{"error: job 17: failed: /a\\x0aerror: job 18: failed\\x1b[2J\\x7f/ü: two\\x0alines"});
    daemon::LogCapture capture;
    daemon::log_about_job(job, daemon::LogLevel::info, "said {} %s\r\n");
    CHECK(capture.take() == Lines{"info: job 17: said {} %s\\x0d\\x0a"});
}

TEST_CASE("a worker's line is a warning unless it says that it is less") {
    daemon::LogCapture capture;
    for (const auto* line : {"odd", "<6>read", "<7>for developers", "<5>odd"})
        daemon::log_worker_line(some_job(JobState::running), line);
    CHECK(capture.take() == Lines{"warning: job 17: odd", "info: job 17: read", "warning: job 17: <5>odd"});
}
