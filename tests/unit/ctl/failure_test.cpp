#include "ctl/failure.hpp"

#include <algorithm>
#include <cerrno>
#include <system_error>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "api/queue_calls.hpp"
#include "io/file_system.hpp"
#include "varlink/client.hpp"
#include "varlink/protocol.hpp"
#include "verify/copy_verification.hpp"

using namespace vmad;
using ctl::ExitCode;

namespace {

template <typename Exception>
ctl::Failure failure_of(const Exception& exception) {
    try {
        throw exception;
    } catch (...) {
        return ctl::current_failure();
    }
}

api::Job ended_job() {
    api::Job job;
    job.id = 17;
    job.state = api::JobState::done;
    return job;
}

}  // namespace

TEST_CASE("every exception has its exit code and its words") {
    struct Row {
        ctl::Failure failure;
        ExitCode code;
        const char* message;
    };
    const Row rows[] = {
        {failure_of(base::FormatError(17, "rule", "bad")), ExitCode::invalid, "at byte 17: bad"},
        {failure_of(base::Unsupported("with RAM")), ExitCode::invalid, "with RAM"},
        {failure_of(base::UsageError("no")), ExitCode::usage, "no"},
        {failure_of(base::SystemError(EIO, "read", "/x")), ExitCode::failed, "read /x: Input/output error"},
        {failure_of(io::NoSpace("full")), ExitCode::failed, "full"},
        {failure_of(verify::VerificationError("differs")), ExitCode::failed, "differs"},
        {failure_of(std::bad_alloc()), ExitCode::failed, "out of memory"},
        {failure_of(std::system_error(EAGAIN, std::generic_category(), "x")), ExitCode::failed,
         "cannot start a thread: x: Resource temporarily unavailable"},
        {failure_of(std::system_error(EIO, std::generic_category(), "x")), ExitCode::failed,
         "x: Input/output error"},
        {failure_of(varlink::Unreachable("connect /s: No such file or directory")), ExitCode::unreachable,
         "cannot reach the daemon: connect /s: No such file or directory; is it running? Try "
         "\"systemctl start vmad\", and \"vmactl settings check\" if that fails"},
        {failure_of(varlink::Disconnected("/s: the server closed the connection")), ExitCode::unreachable,
         "/s: the server closed the connection"},
        {failure_of(varlink::TimedOut("/s: no answer in time")), ExitCode::timed_out,
         "/s: no answer in time"},
        {failure_of(api::no_such_job(17)), ExitCode::no_such_job,
         "no job 17: it does not exist, or it finished long ago"},
        {failure_of(api::no_such_path("/x")), ExitCode::no_such_job, "no job for /x"},
        {failure_of(api::path_refused("/x", "it is a directory")), ExitCode::usage,
         "/x cannot be queued: it is a directory"},
        {failure_of(api::job_has_ended(ended_job())), ExitCode::failed, "job 17 has already finished: done"},
        {failure_of(api::invalid_settings("vmad.toml, line 3: no such key")), ExitCode::failed,
         "invalid settings, keeping the current ones: vmad.toml, line 3: no such key"},
        {failure_of(api::failed("the disk is full")), ExitCode::failed, "the disk is full"},
        {failure_of(varlink::permission_denied()), ExitCode::failed,
         "permission denied: only root may control the daemon"},
        // A daemon of another version may leave parameters out or send other ones.
        {failure_of(varlink::RemoteError("org.vmad.Queue.NoSuchJob")), ExitCode::no_such_job,
         "no job null: it does not exist, or it finished long ago"},
        {failure_of(varlink::RemoteError("org.vmad.Queue.JobHasEnded", {{"state", 7}})), ExitCode::failed,
         "job null has already finished: ?"},
        {failure_of(varlink::RemoteError("org.vmad.Queue.Failed", {{"reason", 7}})), ExitCode::failed, "?"},
    };
    for (const auto& row : rows) {
        CHECK(row.failure.code == row.code);
        CHECK(row.failure.message == row.message);
    }
    CHECK(failure_of(base::FormatError(17, "rule", "bad")).offset == 17);
    CHECK_FALSE(failure_of(base::Unsupported("x")).offset);
}

TEST_CASE("a wish to stop is no failure") { CHECK_THROWS_AS(failure_of(base::Cancelled()), base::Cancelled); }

TEST_CASE("of several results the worst is kept, in any order") {
    using enum ExitCode;
    const ExitCode by_rank[] = {done, busy, failed, invalid};
    for (int a = 0; a < 4; ++a)
        for (int b = 0; b < 4; ++b) CHECK(worse(by_rank[a], by_rank[b]) == by_rank[std::max(a, b)]);
    CHECK(worse(done, usage) == usage);
    CHECK(worse(no_such_job, busy) == no_such_job);
    CHECK(worse(usage, invalid) == invalid);
}
