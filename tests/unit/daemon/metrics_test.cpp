#include "daemon/metrics.hpp"

#include <sys/stat.h>

#include <doctest/doctest.h>

#include "log_capture.hpp"
#include "support/random.hpp"
#include "support/temporary_directory.hpp"

using namespace vmad;
using Lines = std::vector<std::string>;

namespace {

std::string metrics_text(const api::Status& status, const std::vector<api::GuestSummary>& guests = {}) {
    return daemon::metrics_text(status, guests);
}

bool has(const std::string& text, const std::string& line) {
    return ("\n" + text).find("\n" + line + "\n") != std::string::npos;
}

/// Lets the loop do what is due, without waiting.
void run_due(sd_event* event) {
    while (sd_event_run(event, 0) > 0) {
    }
}

/// A file of metrics with a text that a test can change.
struct Fixture {
    std::string text = "vmad_a 1\n";
    support::TemporaryDirectory directory;
    varlink::Event event = varlink::make_event();
    daemon::LogCapture log;
    daemon::MetricsFile file{event.get(), [this] { return text; }};

    [[nodiscard]] std::string content() const { return directory.read("vmad.prom"); }
};

}  // namespace

TEST_CASE("the text of a daemon that has done nothing yet") {
    api::Status status;
    status.version = "1.2";
    status.started_at = 1700000000;
    CHECK(metrics_text(status) == R"(# HELP vmad_build_info Version of the running daemon; always 1.
# TYPE vmad_build_info gauge
vmad_build_info{version="1.2"} 1
# HELP vmad_start_time_seconds Start time of the daemon in seconds since the epoch.
# TYPE vmad_start_time_seconds gauge
vmad_start_time_seconds 1700000000
# HELP vmad_jobs Number of unfinished jobs, by state.
# TYPE vmad_jobs gauge
vmad_jobs{state="queued"} 0
vmad_jobs{state="running"} 0
vmad_jobs{state="publishing"} 0
vmad_jobs{state="waiting"} 0
# HELP vmad_paused Whether the queue is paused (1) or not (0).
# TYPE vmad_paused gauge
vmad_paused 0
# HELP vmad_jobs_ended_total Number of finished repack jobs, by result.
# TYPE vmad_jobs_ended_total counter
vmad_jobs_ended_total{result="done"} 0
vmad_jobs_ended_total{result="unchanged"} 0
vmad_jobs_ended_total{result="vanished"} 0
vmad_jobs_ended_total{result="failed"} 0
vmad_jobs_ended_total{result="cancelled"} 0
# HELP vmad_repack_input_bytes_total Total size of repacked archives before repacking.
# TYPE vmad_repack_input_bytes_total counter
vmad_repack_input_bytes_total 0
# HELP vmad_repack_output_bytes_total Total size of repacked archives after repacking.
# TYPE vmad_repack_output_bytes_total counter
vmad_repack_output_bytes_total 0
# HELP vmad_job_duration_seconds Duration of the last run of each done job.
# TYPE vmad_job_duration_seconds histogram
vmad_job_duration_seconds_bucket{le="1"} 0
vmad_job_duration_seconds_bucket{le="10"} 0
vmad_job_duration_seconds_bucket{le="60"} 0
vmad_job_duration_seconds_bucket{le="300"} 0
vmad_job_duration_seconds_bucket{le="900"} 0
vmad_job_duration_seconds_bucket{le="1800"} 0
vmad_job_duration_seconds_bucket{le="3600"} 0
vmad_job_duration_seconds_bucket{le="10800"} 0
vmad_job_duration_seconds_bucket{le="36000"} 0
vmad_job_duration_seconds_bucket{le="+Inf"} 0
vmad_job_duration_seconds_sum 0
vmad_job_duration_seconds_count 0
# HELP vmad_verify_jobs_ended_total Number of finished verify jobs, by result.
# TYPE vmad_verify_jobs_ended_total counter
vmad_verify_jobs_ended_total{result="good"} 0
vmad_verify_jobs_ended_total{result="damaged"} 0
vmad_verify_jobs_ended_total{result="vanished"} 0
vmad_verify_jobs_ended_total{result="failed"} 0
vmad_verify_jobs_ended_total{result="cancelled"} 0
# HELP vmad_verify_bytes_total Total size of archives that verify jobs have read.
# TYPE vmad_verify_bytes_total counter
vmad_verify_bytes_total 0
# HELP vmad_verify_duration_seconds_total Total duration of the last runs of verify jobs that have read their archives.
# TYPE vmad_verify_duration_seconds_total counter
vmad_verify_duration_seconds_total 0
# HELP vmad_archives Number of archives that the daemon knows, by verdict.
# TYPE vmad_archives gauge
vmad_archives{verdict="good"} 0
vmad_archives{verdict="unverified"} 0
vmad_archives{verdict="damaged"} 0
)");
}

TEST_CASE("every figure of a status is where it belongs") {
    api::Status status;
    std::uint64_t next = 1;
    for (std::size_t i = 0; i < api::kJobStateNames.size(); ++i)
        status.counts[static_cast<api::JobState>(i)] = 100 + next++;
    auto& totals = status.totals;
    totals.done = 11;
    totals.unchanged = 12;
    totals.vanished = 13;
    totals.failed = 14;
    totals.cancelled = 15;
    totals.bytes_before = UINT64_MAX;
    totals.bytes_after = 17;
    totals.durations = {1, 2, 0, 0, 0, 0, 0, 0, 0, 8};
    totals.duration_seconds = 18;
    totals.last_success_at = 19;
    totals.last_failure_at = -1;
    totals.verify = {.good = 31,
                     .damaged = 32,
                     .failed = 33,
                     .vanished = 34,
                     .cancelled = 35,
                     .bytes = 36,
                     .duration_seconds = 37,
                     .last_good_at = 38,
                     .last_damaged_at = 39};
    status.oldest_at = 21;
    status.hold = api::Hold::paused;
    const auto text = metrics_text(status);
    for (const auto* line : {"vmad_jobs{state=\"queued\"} 101",
                             "vmad_jobs{state=\"running\"} 102",
                             "vmad_jobs{state=\"publishing\"} 103",
                             "vmad_jobs{state=\"waiting\"} 104",
                             "vmad_jobs_ended_total{result=\"done\"} 11",
                             "vmad_jobs_ended_total{result=\"unchanged\"} 12",
                             "vmad_jobs_ended_total{result=\"vanished\"} 13",
                             "vmad_jobs_ended_total{result=\"failed\"} 14",
                             "vmad_jobs_ended_total{result=\"cancelled\"} 15",
                             "vmad_repack_input_bytes_total 18446744073709551615",
                             "vmad_repack_output_bytes_total 17",
                             "vmad_job_duration_seconds_bucket{le=\"1\"} 1",
                             "vmad_job_duration_seconds_bucket{le=\"10\"} 3",
                             "vmad_job_duration_seconds_bucket{le=\"36000\"} 3",
                             "vmad_job_duration_seconds_bucket{le=\"+Inf\"} 11",
                             "vmad_job_duration_seconds_sum 18",
                             "vmad_job_duration_seconds_count 11",
                             "vmad_last_success_timestamp_seconds 19",
                             "vmad_last_failure_timestamp_seconds -1",
                             "vmad_oldest_job_timestamp_seconds 21",
                             "vmad_verify_jobs_ended_total{result=\"good\"} 31",
                             "vmad_verify_jobs_ended_total{result=\"damaged\"} 32",
                             "vmad_verify_jobs_ended_total{result=\"failed\"} 33",
                             "vmad_verify_jobs_ended_total{result=\"vanished\"} 34",
                             "vmad_verify_jobs_ended_total{result=\"cancelled\"} 35",
                             "vmad_verify_bytes_total 36",
                             "vmad_verify_duration_seconds_total 37",
                             "vmad_paused 1"}) {
        INFO(line);
        CHECK(has(text, line));
    }
}

TEST_CASE("every figure of a guest is where it belongs, and what is not known is left out") {
    api::GuestSummary known{.vmid = 100, .storage = "local", .guest = "web"};
    known.backups = 11;
    known.bytes = 12;
    known.last_success_at = 13;
    known.last_size = 14;
    known.last_new_bytes = 15;
    known.verified_at = 16;
    known.unverified = 3;
    known.damaged = 2;
    const api::GuestSummary unknown{.storage = "n\"as", .backups = 1, .unverified = 1};
    const auto text = metrics_text({}, {known, unknown});
    std::size_t samples = 0;
    for (const auto* line : {"vmad_guest_info{vmid=\"100\",storage=\"local\",guest=\"web\"} 1",
                             "vmad_guest_archives{vmid=\"100\",storage=\"local\"} 11",
                             "vmad_guest_archive_bytes{vmid=\"100\",storage=\"local\"} 12",
                             "vmad_guest_last_success_timestamp_seconds{vmid=\"100\",storage=\"local\"} 13",
                             "vmad_guest_backup_bytes{vmid=\"100\",storage=\"local\"} 14",
                             "vmad_guest_new_bytes{vmid=\"100\",storage=\"local\"} 15",
                             "vmad_guest_verified_timestamp_seconds{vmid=\"100\",storage=\"local\"} 16",
                             "vmad_guest_unverified_archives{vmid=\"100\",storage=\"local\"} 3",
                             "vmad_guest_damaged_archives{vmid=\"100\",storage=\"local\"} 2",
                             "vmad_guest_info{vmid=\"\",storage=\"n\\\"as\",guest=\"\"} 1",
                             "vmad_guest_archives{vmid=\"\",storage=\"n\\\"as\"} 1",
                             "vmad_guest_archive_bytes{vmid=\"\",storage=\"n\\\"as\"} 0",
                             "vmad_guest_unverified_archives{vmid=\"\",storage=\"n\\\"as\"} 1",
                             "vmad_guest_damaged_archives{vmid=\"\",storage=\"n\\\"as\"} 0"}) {
        INFO(line);
        CHECK(has(text, line));
        ++samples;
    }
    std::size_t found = 0;
    for (auto at = text.find("vmid="); at != std::string::npos; at = text.find("vmid=", at + 1)) ++found;
    CHECK(found == samples);
    CHECK(has(text, "vmad_archives{verdict=\"good\"} 6"));
    CHECK(has(text, "vmad_archives{verdict=\"unverified\"} 4"));
    CHECK(has(text, "vmad_archives{verdict=\"damaged\"} 2"));
    // Nobody knows the size of the backup: the family is not there at all.
    CHECK(metrics_text({}, {unknown}).find("vmad_guest_backup_bytes") == std::string::npos);
}

TEST_CASE("the value of a label is escaped") {
    api::Status status;
    status.version = "a\\b\"c\nd";
    CHECK(has(metrics_text(status), "vmad_build_info{version=\"a\\\\b\\\"c\\nd\"} 1"));
}

TEST_CASE("buckets never fall, and the last one is the count") {
    testing::Random random(3);
    for (int round = 0; round < 100; ++round) {
        api::Status status;
        std::uint64_t count = 0;
        for (auto& jobs : status.totals.durations) count += jobs = random.below(1000);
        const auto text = metrics_text(status);
        std::uint64_t last = 0;
        for (auto at = text.find("_bucket{"); at != std::string::npos; at = text.find("_bucket{", at + 1)) {
            const auto value = std::stoull(text.substr(text.find("} ", at) + 2));
            CHECK(value >= last);
            last = value;
        }
        CHECK(last == count);
        CHECK(has(text, "vmad_job_duration_seconds_count " + std::to_string(count)));
    }
}

TEST_CASE("without a path nothing is written") {
    Fixture test;
    test.file.changed();
    run_due(test.event.get());
    test.file.flush();
    CHECK(test.directory.names().empty());
}

TEST_CASE("the first change is written at once, the next ones not; flush() writes what is missing") {
    Fixture test;
    const auto umask = ::umask(077);
    test.file.set_path(test.directory / "vmad.prom");
    CHECK(test.directory.names().empty());  // not in the middle of the caller's change
    test.text = "vmad_a 5\n";
    run_due(test.event.get());
    ::umask(umask);
    CHECK(test.content() == test.text);
    struct stat status {};
    REQUIRE(::stat((test.directory / "vmad.prom").c_str(), &status) == 0);
    CHECK((status.st_mode & 07777) == 0644);
    CHECK(test.directory.names() == std::set<std::string>{"vmad.prom"});

    const auto before = test.content();
    test.text = "vmad_a 6\n";
    test.file.changed();
    run_due(test.event.get());
    CHECK(test.content() == before);
    test.file.flush();
    CHECK(test.content() == test.text);
}

TEST_CASE("what was not changed is not written") {
    Fixture test;
    test.file.set_path(test.directory / "vmad.prom");
    run_due(test.event.get());
    test.directory.write("vmad.prom", "mine");
    test.file.set_path(test.directory / "vmad.prom");
    run_due(test.event.get());
    test.file.flush();
    CHECK(test.content() == "mine");
}

TEST_CASE("another path is written at once, and what lies at the old one stays") {
    Fixture test;
    test.file.set_path(test.directory / "old.prom");
    run_due(test.event.get());
    test.file.set_path(test.directory / "vmad.prom");
    run_due(test.event.get());
    test.file.set_path("");
    run_due(test.event.get());
    CHECK(test.directory.names() == std::set<std::string>{"old.prom", "vmad.prom"});
    CHECK(test.content() == test.text);
}

TEST_CASE("a link at the temporary name is replaced, not followed") {
    Fixture test;
    test.directory.write("precious", "precious");
    std::filesystem::create_symlink(test.directory / "precious", test.directory / ".vmad.prom.tmp");
    test.file.set_path(test.directory / "vmad.prom");
    run_due(test.event.get());
    CHECK(test.directory.read("precious") == "precious");
    CHECK(test.content() == test.text);
    CHECK(test.directory.names() == std::set<std::string>{"precious", "vmad.prom"});
}

TEST_CASE("a failure is logged once, until it works again") {
    Fixture test;
    const auto path = test.directory / "new/vmad.prom";
    test.file.set_path(path);
    run_due(test.event.get());
    test.file.flush();
    test.file.flush();
    CHECK(test.log.take() == Lines{"warning: metrics: create " + (test.directory / "new/.vmad.prom.tmp") +
                                   ": No such file or directory"});
    std::filesystem::create_directory(test.directory / "new");
    test.file.flush();
    CHECK(test.log.take() == Lines{"info: metrics: " + path + " can be written again"});
    CHECK(test.directory.read("new/vmad.prom") == test.text);

    // A directory is in its place: nothing is left beside it.
    std::filesystem::remove(path);
    std::filesystem::create_directory(path);
    test.file.changed();
    test.file.flush();
    CHECK(test.log.take() == Lines{"warning: metrics: replace " + path + ": Is a directory"});
    CHECK_FALSE(test.directory.has("new/.vmad.prom.tmp"));
}

TEST_CASE("a text that cannot be had disturbs nobody") {
    daemon::LogCapture log;
    support::TemporaryDirectory directory;
    const auto event = varlink::make_event();
    daemon::MetricsFile file(event.get(), []() -> std::string { throw std::runtime_error("no text"); });
    file.set_path(directory / "vmad.prom");
    run_due(event.get());
    CHECK(log.take() == Lines{"warning: metrics: no text"});
    CHECK(directory.names().empty());
}
