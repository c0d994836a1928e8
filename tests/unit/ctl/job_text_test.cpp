#include "ctl/text/job_text.hpp"

#include <doctest/doctest.h>

#include "ctl/operands/job_argument.hpp"
#include "ctl/text/archive_text.hpp"
#include "pve/backup_name.hpp"

using namespace vmad;
using namespace vmad::ctl;
using api::JobState;

namespace {

constexpr std::int64_t kNow = 1'000'000;

api::Job job_in(JobState state) {
    api::Job job;
    job.id = 17;
    job.path = "/mnt/pve/nas/dump/vzdump-qemu-100-2024_02_29-13_05_09.vma";
    job.state = state;
    job.queued_at = kNow - 7200;
    return job;
}

}  // namespace

TEST_CASE("each state has its time") {
    struct Row {
        JobState state;
        const char* bare;      ///< when only the time of queueing is known
        const char* complete;  ///< when all times are
    };
    const Row rows[] = {
        {JobState::queued, "2 h ago", "2 h ago"},      {JobState::running, "2 h ago", "1 h ago"},
        {JobState::publishing, "2 h ago", "1 h ago"},  {JobState::waiting, "now", "in 5 min"},
        {JobState::done, "2 h ago", "3 min ago"},      {JobState::unchanged, "2 h ago", "3 min ago"},
        {JobState::vanished, "2 h ago", "3 min ago"},  {JobState::failed, "2 h ago", "3 min ago"},
        {JobState::cancelled, "2 h ago", "3 min ago"},
    };
    for (const auto& row : rows) {
        auto job = job_in(row.state);
        CHECK(when_text(job, kNow) == row.bare);
        job.started_at = kNow - 3600;
        job.ended_at = kNow - 200;
        job.retry_at = kNow + 300;
        CHECK(when_text(job, kNow) == row.complete);
    }
    // Its time has come, but not its turn.
    auto job = job_in(JobState::waiting);
    job.retry_at = kNow - 500;
    CHECK(when_text(job, kNow) == "now");
}

TEST_CASE("names and numbers") {
    auto job = job_in(JobState::queued);
    CHECK(job_label(job) == "VM 100, 2024-02-29 13:05");
    job.guest = "web";
    CHECK(job_label(job) == "VM 100 web, 2024-02-29 13:05");
    CHECK(vmid_text(job) == "");
    job.vmid = 100;
    CHECK(vmid_text(job) == "100");
    job.path = "/a.vma";
    CHECK(job_label(job) == "a.vma");
}

TEST_CASE("a saving is of the size before") {
    struct Row {
        std::optional<std::uint64_t> before;
        std::optional<std::uint64_t> after;
        const char* sizes;
        const char* saving;
    };
    const Row rows[] = {
        {{}, {}, "", ""},
        {4096, {}, "4.0 KiB", ""},
        {0, 512, "0 B → 512 B", ""},
        {1000, 900, "1000 B → 900 B", "10.0 % saved"},
        {1000, 1000, "1000 B → 1000 B", "0.0 % saved"},
        {1000, 1200, "1000 B → 1.2 KiB", "20.0 % more"},
        {1, 3, "1 B → 3 B", "200.0 % more"},
    };
    for (const auto& row : rows) {
        auto job = job_in(JobState::done);
        job.size_before = row.before;
        job.size_after = row.after;
        CHECK(saving_text(job) == row.saving);
        CHECK(sizes_text(job) == row.sizes);
    }
}

TEST_CASE("what is new says of how much, and since when") {
    constexpr std::int64_t kDay = std::int64_t{24} * 60 * 60;
    constexpr std::uint64_t kMiB = 1 << 20;
    auto job = job_in(JobState::done);
    const auto made = pve::backup_time_of(job.path).value();
    job.size_before = 1300 * kMiB;
    job.size_after = 1229 * kMiB;
    CHECK(new_text(job, made).empty());
    CHECK(result_text(job, made) == "1.3 GiB → 1.2 GiB");
    struct Row {
        std::uint64_t bytes;
        std::int64_t before;
        const char* text;
    };
    const Row rows[] = {
        {37 * kMiB, made - 2 * kDay, "37 MiB new since 27 Feb (3 %)"},
        {kMiB, made - 2 * kDay, "1.0 MiB new since 27 Feb (< 1 %)"},
        {1229 * kMiB, made - 90 * kDay, "1.2 GiB new since 1 Dec 2023 (100 %)"},
        {0, made - kDay, "nothing new since 28 Feb"},
        {37 * kMiB, made - 3600, "37 MiB new since 12:05 (3 %)"},
    };
    for (const auto& row : rows) {
        job.since = {.archive = "vzdump-qemu-100-2024_02_27-13_05_09.vma",
                     .archive_at = row.before,
                     .new_bytes = row.bytes};
        CHECK(new_text(job, made) == row.text);
        CHECK(result_text(job, made) == std::string("1.2 GiB, ") + row.text);
    }
}

TEST_CASE("where a disk has grown") {
    constexpr std::uint64_t kMiB = 1 << 20;
    api::DiskGrowth disk{.disk = "drive-scsi0", .bytes = 1024 * kMiB};
    CHECK(growth_text(disk) == "nothing");
    disk.new_bytes = 30 * kMiB;
    disk.largest = {
        .offset = 200 * kMiB, .bytes = 64 * kMiB, .new_bytes = 21 * kMiB, .partition = "2 (ext4)"};
    CHECK(growth_text(disk) == "30 MiB, 21 MiB of it in partition 2 (ext4), at 200 MiB to 264 MiB");
    disk.largest->new_bytes = disk.new_bytes;
    disk.largest->partition = "";
    CHECK(growth_text(disk) == "30 MiB, at 200 MiB to 264 MiB");
}

TEST_CASE("a verify job has come to something else") {
    auto job = job_in(JobState::done);
    CHECK(state_text(job) == std::string("done"));
    job.kind = api::JobKind::verify;
    job.size_before = job.size_after = 4096;
    CHECK(state_text(job) == std::string("verified"));
    CHECK(sizes_text(job) == "4.0 KiB");
    CHECK(saving_text(job) == "");
    job.state = JobState::failed;
    CHECK(state_text(job) == std::string("failed"));
    CHECK(advice_for(job) == "\"vmactl retry 17\" retries, \"vmactl cancel 17\" acknowledges");
    job.damaged = true;
    CHECK(state_text(job) == std::string("damaged"));
    CHECK(advice_for(job) == "try \"vmactl repair\"; \"vmactl cancel 17\" acknowledges");
    CHECK(place_text({"drive-scsi0", UINT64_C(1363148800), 2 << 20, "2 (ext4)"}) ==
          "scsi0: 2.0 MiB at 1.3 GiB, partition 2 (ext4)");
    CHECK(place_text({"drive-scsi0", 0, 512, ""}) == "scsi0: 512 B at 0 B");
    CHECK(place_text({"", 0, 65536, ""}) == "the header of the archive");
}

TEST_CASE("progress says what is known") {
    api::JobProgress progress;
    progress.stage = "verifying";
    CHECK(progress_text(progress) == "0 B");
    progress.done_bytes = 21 << 20;
    progress.total_bytes = 50 << 20;
    CHECK(progress_text(progress) == "42 %, 21 of 50 MiB");
    progress.bytes_per_second = 212 << 20;
    progress.remaining_seconds = 63;
    CHECK(progress_text(progress) == "42 %, 21 of 50 MiB, 212 MiB/s, 1 min 3 s left");
}

TEST_CASE("a backup is known by guest, time and format") {
    constexpr std::int64_t kMarch2024 = 1'709'208'309;
    const auto cells = archive_cells("/d/vzdump-qemu-100-2024_01_31-13_05_09.vma.zst", kMarch2024);
    CHECK(cells.vmid == "100");
    CHECK(cells.time == "01-31 13:05");
    CHECK(cells.format == "zst");
    CHECK(archive_cells("/d/vzdump-qemu-100-2023_12_31-13_05_09.vma", kMarch2024).time == "2023-12-31");
    const auto other = archive_cells("/d/other.vma", kMarch2024);
    CHECK(other.vmid == "-");
    CHECK(other.time == "-");
    CHECK(other.format == "vma");
    CHECK(archive_cells("/d/other", kMarch2024).format == "-");
}

TEST_CASE("what can be done about a job fits a line of 80 columns behind its label") {
    for (std::size_t i = 0; i < api::kJobStateNames.size(); ++i) {
        auto job = job_in(static_cast<JobState>(i));
        job.id = 100'000;
        const auto advice = advice_for(job);
        CHECK(advice.size() <= 80 - 13);
        const bool needs_one = job.state == JobState::waiting || job.state == JobState::failed ||
                               job.state == JobState::cancelled;
        CHECK((advice.find("vmactl retry 100000") != advice.npos) == needs_one);
    }
    auto lingering = job_in(JobState::waiting);
    lingering.waiting_for = api::WaitReason::grace_period;
    CHECK(advice_for(lingering).empty());
}

TEST_CASE("a word of digits only is an id") {
    CHECK(job_id_from("17") == 17);
    CHECK(job_id_from("0") == 0);
    for (const auto* word : {"", "x", "./17", "17x", "-1", "+1", " 1", "1 ", "1.0", "99999999999999999999"})
        CHECK_FALSE(job_id_from(word));
}
