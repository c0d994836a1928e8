// The .varlink file is the schema of --json, so the code has to keep to it.
#include "api/queue_interface.hpp"

#include <array>
#include <set>
#include <string>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "api/queue_calls.hpp"
#include "api/status.hpp"
#include "generate.hpp"
#include "interface_schema.hpp"
#include "varlink/protocol.hpp"

using namespace vmad::api;
using nlohmann::json;

namespace {

const InterfaceSchema& schema() {
    static const InterfaceSchema read(queue_interface_description());
    return read;
}

std::string type_mismatch(const char* type, const json& value) {
    return schema().mismatch(schema().types.at(type), value);
}

// With every field that there is.
Job full_job(Generate& generate) {
    Job job = generate.job();
    job.reason = job.warning = job.storage = job.guest = job.refused_file = "r";
    job.space_refusal = generate.space_refusal();
    job.space_refusal->free_bytes = 1;
    job.waiting_for = WaitReason::space;
    job.damaged = true;
    job.vmid = job.end_number = 1;
    job.state_after_recovery = JobState::failed;
    job.started_at = job.ended_at = job.retry_at = 1;
    job.kind = JobKind::verify;
    job.size_before = job.size_after = job.shared_bytes = 1;
    job.since = NewSince{"a", 1, 1, {{"drive-scsi0", 1, 1, NewStretch{0, 1, 1, "1"}}}};
    job.damage = {{"drive-scsi0", 0, 1, "1"}};
    job.last_good_at = 1;
    job.paused = true;
    job.mount_point = "/";
    job.recovery = "{}";
    job.progress = generate.progress();
    job.progress->remaining_seconds = 1;
    return job;
}

Totals full_totals(Generate& generate) {
    Totals totals = generate.totals();
    totals.last_success_at = totals.last_failure_at = 1;
    totals.verify.last_good_at = totals.verify.last_damaged_at = 1;
    return totals;
}

Status full_status(Generate& generate) {
    Status status = generate.status();
    status.hold = Hold::paused;
    status.hold_until = status.oldest_at = status.verify_every_seconds = 1;
    status.archives.verified_at = 1;
    status.totals = full_totals(generate);
    return status;
}

ArchiveRecord full_archive(Generate& generate) {
    ArchiveRecord record = generate.archive();
    record.storage = record.guest = record.digest = record.fault = record.mount_point = "r";
    record.vmid = record.new_bytes = 1;
    record.acknowledged = true;
    record.device_digests = {{"drive-scsi0", "d"}};
    record.repacked_at = record.verified_at = record.looked_at = 1;
    return record;
}

GuestSummary full_guest(Generate& generate) {
    GuestSummary guest = generate.guest();
    guest.storage = guest.guest = "r";
    guest.vmid = guest.last_size = guest.last_new_bytes = 1;
    guest.last_success_at = guest.verified_at = 1;
    return guest;
}

template <std::size_t N>
std::set<std::string> names_of(const std::array<const char*, N>& names) {
    return {names.begin(), names.end()};
}

std::set<std::string> names_of(const json& object) {
    std::set<std::string> names;
    for (const auto& [name, value] : object.items()) names.insert(name);
    return names;
}

std::set<std::string> names_of(const char* type) {
    std::set<std::string> names;
    for (const auto& [name, its_type] : schema().types.at(type).fields) names.insert(name);
    return names;
}

}  // namespace

TEST_CASE("the description names the interface, its methods and its errors") {
    CHECK(schema().name == kQueueInterface);
    std::set<std::string> methods;
    for (const auto& [name, types] : schema().methods) methods.insert(schema().name + "." + name);
    CHECK(methods == std::set<std::string>{kEnqueueMethod, kListMethod, kShowMethod, kStatusMethod,
                                           kWaitMethod, kMonitorMethod, kCancelMethod, kRetryMethod,
                                           kPauseMethod, kResumeMethod, kReloadMethod, kArchivesMethod,
                                           kGuestsMethod, kForgetMethod});
    std::set<std::string> errors;
    for (const auto& [name, type] : schema().errors) errors.insert(schema().name + "." + name);
    CHECK(errors == std::set<std::string>{kNoSuchJobError, kNoSuchPathError, kPathRefusedError,
                                          kJobHasEndedError, kInvalidSettingsError, kFailedError});
}

TEST_CASE("law: what is written is what the description declares") {
    Generate generate(6);
    for (int round = 0; round < 500; ++round) {
        CHECK(type_mismatch("Job", generate.job()) == "");
        CHECK(type_mismatch("JobProgress", generate.progress()) == "");
        CHECK(type_mismatch("SpaceRefusal", generate.space_refusal()) == "");
        CHECK(type_mismatch("NewSince", generate.new_since()) == "");
        CHECK(type_mismatch("ArchiveRecord", generate.archive()) == "");
        CHECK(type_mismatch("GuestSummary", generate.guest()) == "");
        CHECK(type_mismatch("Totals", generate.totals()) == "");
        CHECK(type_mismatch("QueueStatus", generate.status()) == "");
    }
}

TEST_CASE("what the description declares is what is written") {
    Generate generate(7);
    const Job job = full_job(generate);
    CHECK(names_of(json(job)) == names_of("Job"));
    CHECK(names_of(json(*job.progress)) == names_of("JobProgress"));
    CHECK(names_of(json(*job.space_refusal)) == names_of("SpaceRefusal"));
    CHECK(names_of(json(full_totals(generate))) == names_of("Totals"));
    CHECK(names_of(json(full_status(generate))) == names_of("QueueStatus"));
    CHECK(names_of(json(JobCounts{})) == names_of("JobCounts"));
    CHECK(names_of(json(job)["since"]) == names_of("NewSince"));
    CHECK(names_of(json(job)["since"]["disks"][0]) == names_of("DiskGrowth"));
    CHECK(names_of(json(job)["since"]["disks"][0]["largest"]) == names_of("NewStretch"));
    CHECK(names_of(json(job)["damage"][0]) == names_of("DamagedPlace"));
    CHECK(names_of(json(full_totals(generate).verify)) == names_of("VerifyTotals"));
    CHECK(names_of(json(full_status(generate).archives)) == names_of("ArchiveCounts"));
    CHECK(names_of(json(full_archive(generate))) == names_of("ArchiveRecord"));
    CHECK(names_of(json(full_guest(generate))) == names_of("GuestSummary"));
    CHECK(names_of("JobKind") == names_of(kJobKindNames));
    CHECK(names_of("Verdict") == names_of(kVerdictNames));
    CHECK(names_of("JobState") == names_of("JobCounts"));
    CHECK(names_of("JobState") == names_of(kJobStateNames));
    CHECK(names_of("WaitReason") == names_of(kWaitReasonNames));
    CHECK(names_of("Hold") == names_of(kHoldNames));
}

TEST_CASE("parameters and errors are as declared") {
    Generate generate(8);
    const auto check = [](const char* method, const json& parameters, const json& reply) {
        CAPTURE(std::string(method));
        const auto& [in, out] = schema().methods.at(method);
        CHECK(schema().mismatch(in, parameters) == "");
        CHECK(schema().mismatch(out, reply) == "");
    };
    const Job job = full_job(generate);
    check("Enqueue", EnqueueCall{"/a", true, "local", "v", JobKind::verify}, EnqueueReply{job, true});
    check("List", ListCall{{JobState::queued, JobState::failed}}, JobReply{job});
    check("List", ListCall{}, JobReply{});
    check("Show", JobCall{1}, {{"job", job}});
    check("Status", EmptyCall{}, {{"status", full_status(generate)}});
    check("Cancel", JobCall{1}, {{"job", job}});
    check("Retry", JobCall{1}, {{"job", job}});
    check("Pause", PauseCall{true}, json::object());
    check("Resume", EmptyCall{}, json::object());
    check("Reload", EmptyCall{}, ReloadReply{{"odd"}});
    check("Archives", EmptyCall{}, ArchiveReply{full_archive(generate)});
    check("Archives", EmptyCall{}, ArchiveReply{});
    check("Guests", EmptyCall{}, GuestReply{full_guest(generate)});
    check("Guests", EmptyCall{}, GuestReply{});
    check("Forget", ForgetCall{{"/a"}}, ForgetReply{1});
    check("Monitor", EmptyCall{}, JobReply{job});
    check("Monitor", EmptyCall{}, JobReply{});
    check("Wait", WaitCall{{1, 2}, {"/a"}}, JobReply{job});
    check("Wait", WaitCall{}, JobReply{});
    for (const auto& error : {no_such_job(1), no_such_path("/a"), path_refused("/a", "no"),
                              job_has_ended(job), invalid_settings("no"), failed("no")}) {
        const auto name = error.name().substr(error.name().rfind('.') + 1);
        CHECK(schema().mismatch(schema().errors.at(name), error.parameters()) == "");
    }
}

TEST_CASE("the check of the description finds what is wrong") {
    Generate generate(9);
    json job = full_job(generate);
    job["extra"] = 1;
    CHECK(type_mismatch("Job", job) == "not declared: extra");
    job.erase("extra");
    job["state"] = "asleep";
    CHECK(type_mismatch("Job", job) == "state: no such name: \"asleep\"");
    job["state"] = "done";
    job["waiting_for"] = "godot";
    CHECK(type_mismatch("Job", job) == "waiting_for: no such name: \"godot\"");
    job.erase("waiting_for");
    job.erase("path");
    CHECK(type_mismatch("Job", job) == "missing: path");
    job["path"] = 7;
    CHECK(type_mismatch("Job", job) == "path: no string: 7");
}
