#include "ctl/text/status_check.hpp"

#include <doctest/doctest.h>

#include "base/error.hpp"

using namespace vmad;
using namespace vmad::ctl;
using api::JobState;

namespace {

constexpr std::int64_t kNow = 1'000'000;
constexpr std::int64_t kDay = 86400;

api::Status status_with(std::uint64_t queued, std::uint64_t waiting, std::uint64_t failed,
                        std::optional<std::int64_t> oldest_at) {
    api::Status status;
    status.workers = 2;
    status.counts[JobState::queued] = queued;
    status.counts[JobState::running] = 1;
    status.counts[JobState::publishing] = 1;
    status.counts[JobState::waiting] = waiting;
    status.counts[JobState::failed] = failed;
    status.oldest_at = oldest_at;
    status.totals.done = 1234;
    return status;
}

}  // namespace

TEST_CASE("the worst of what is wrong decides, and all of it is said") {
    struct Row {
        api::Status status;
        CheckResult result;
        const char* line;
    };
    const Row rows[] = {
        {status_with(3, 0, 0, kNow - 123), CheckResult::ok,
         "VMAD OK - 3 queued, 2 running, 0 waiting | queued=3;;;0 running=2;;;0;2 waiting=0;;;0 "
         "failed=0;;0;0 oldest=123s;86400;;0 done=1234c;;;0 "
         "archives=0;;;0 damaged=0;;0;0 overdue=0;0;;0\n"},
        {status_with(0, 0, 0, {}), CheckResult::ok,
         "VMAD OK - 0 queued, 2 running, 0 waiting | queued=0;;;0 running=2;;;0;2 waiting=0;;;0 "
         "failed=0;;0;0 oldest=0s;86400;;0 done=1234c;;;0 "
         "archives=0;;;0 damaged=0;;0;0 overdue=0;0;;0\n"},
        {status_with(0, 4, 0, kNow - kDay), CheckResult::ok,
         "VMAD OK - 0 queued, 2 running, 4 waiting | queued=0;;;0 running=2;;;0;2 waiting=4;;;0 "
         "failed=0;;0;0 oldest=86400s;86400;;0 done=1234c;;;0 "
         "archives=0;;;0 damaged=0;;0;0 overdue=0;0;;0\n"},
        {status_with(0, 4, 0, kNow - kDay - 1), CheckResult::warning,
         "VMAD WARNING - an unfinished job was queued 1 d ago, 0 queued, 2 running, 4 waiting | "
         "queued=0;;;0 running=2;;;0;2 waiting=4;;;0 failed=0;;0;0 oldest=86401s;86400;;0 done=1234c;;;0 "
         "archives=0;;;0 damaged=0;;0;0 overdue=0;0;;0\n"},
        {status_with(0, 0, 1, {}), CheckResult::critical,
         "VMAD CRITICAL - 1 failed (see vmactl list --state failed), 0 queued, 2 running, 0 waiting | "
         "queued=0;;;0 running=2;;;0;2 waiting=0;;;0 failed=1;;0;0 oldest=0s;86400;;0 done=1234c;;;0 "
         "archives=0;;;0 damaged=0;;0;0 overdue=0;0;;0\n"},
        {status_with(0, 1, 2, kNow - 3 * kDay), CheckResult::critical,
         "VMAD CRITICAL - 2 failed (see vmactl list --state failed), an unfinished job was queued 3 d "
         "ago, 0 queued, 2 running, 1 waiting | queued=0;;;0 running=2;;;0;2 waiting=1;;;0 failed=2;;0;0 "
         "oldest=259200s;86400;;0 done=1234c;;;0 "
         "archives=0;;;0 damaged=0;;0;0 overdue=0;0;;0\n"},
        // The clock was set back.
        {status_with(1, 0, 0, kNow + 5), CheckResult::ok,
         "VMAD OK - 1 queued, 2 running, 0 waiting | queued=1;;;0 running=2;;;0;2 waiting=0;;;0 "
         "failed=0;;0;0 oldest=0s;86400;;0 done=1234c;;;0 "
         "archives=0;;;0 damaged=0;;0;0 overdue=0;0;;0\n"},
    };
    for (const auto& row : rows) {
        const auto check = check_of(row.status, kNow);
        CHECK(check.result == row.result);
        CHECK(check.line == row.line);
    }
    // What is known of archives comes first, the worst at the beginning.
    auto verified = status_with(0, 0, 0, {});
    verified.archives.known = 120;
    verified.archives.overdue = 3;
    CHECK(check_of(verified, kNow).result == CheckResult::warning);
    CHECK(check_of(verified, kNow)
              .line.starts_with(
                  "VMAD WARNING - 3 overdue to be verified (see vmactl list --verified), 0 queued"));
    verified.archives.damaged = 2;
    verified.archives.unacknowledged = 1;
    verified.verify_counts[JobState::failed] = 2;
    verified.verify_counts[JobState::queued] = 50;
    CHECK(check_of(verified, kNow).result == CheckResult::critical);
    CHECK(
        check_of(verified, kNow).line ==
        "VMAD CRITICAL - 1 damaged (see vmactl list --verified), 2 failed (see vmactl list --state failed), "
        "3 overdue to be verified (see vmactl list --verified), 0 queued, 2 running, 0 waiting | "
        "queued=0;;;0 "
        "running=2;;;0;2 waiting=0;;;0 failed=2;;0;0 oldest=0s;86400;;0 done=1234c;;;0 archives=120;;;0 "
        "damaged=1;;0;0 overdue=3;0;;0\n");
    auto paused = status_with(1, 0, 0, kNow);
    paused.hold = api::Hold::paused;
    CHECK(check_of(paused, kNow).line.starts_with("VMAD OK - 1 queued, 2 running, 0 waiting, paused | "));
}

TEST_CASE("a daemon that is down is critical, anything else is unknown") {
    CHECK(check_of(Failure{ExitCode::unreachable, "it is down", {}}).result == CheckResult::critical);
    CHECK(check_of(Failure{ExitCode::unreachable, "it is down", {}}).line == "VMAD CRITICAL - it is down\n");
    for (const auto code : {ExitCode::failed, ExitCode::timed_out, ExitCode::usage}) {
        const auto check = check_of(Failure{code, "connect /a|b\n: no", {}});
        CHECK(check.result == CheckResult::unknown);
        CHECK(check.line == "VMAD UNKNOWN - connect /a!b\\x0a: no\n");
    }
}
