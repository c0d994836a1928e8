#include "ctl/text/backup_report.hpp"

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <set>

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "ctl/text/backup_report_page.hpp"
#include "ctl/text/backup_report_text.hpp"
#include "ctl/text/local_time.hpp"
#include "ctl/text/printable_text.hpp"
#include "support/random.hpp"

using namespace vmad;
using namespace vmad::ctl;
using api::JobState;

namespace {

constexpr std::int64_t kDay = 86400;
constexpr std::int64_t kNow = 1'709'208'309;  // 2024-02-29 12:05:09 UTC

std::string path_at(std::uint64_t vmid, std::int64_t at, const std::string& directory = "/mnt/pve/nas/dump") {
    const std::time_t time = at;
    std::tm parts{};
    ::localtime_r(&time, &parts);
    char text[64];
    std::strftime(text, sizeof text, "%Y_%m_%d-%H_%M_%S", &parts);
    return fmt::format("{}/vzdump-qemu-{}-{}.vma.zst", directory, vmid, text);
}

api::Job job_of(std::uint64_t id, const std::string& path, JobState state = JobState::done) {
    api::Job job;
    job.id = id;
    job.path = path;
    job.state = state;
    job.queued_at = kNow - 60;
    job.ended_at = kNow - 30;
    if (state == JobState::done) job.size_after = 1000;
    return job;
}

api::NewSince since_of(std::uint64_t new_bytes) {
    return {.archive = "vzdump-qemu-100-2024_02_01-02_00_00.vma.zst",
            .archive_at = kNow - kDay,
            .new_bytes = new_bytes};
}

ReportInput input_of(std::vector<api::Job> jobs, std::vector<api::ArchiveRecord> archives = {}) {
    return {.host = "pve1",
            .since = kNow - 7 * kDay,
            .now = kNow,
            .verify_seconds = 30 * kDay,
            .jobs = std::move(jobs),
            .archives = std::move(archives)};
}

/// Bytes as a hostile archive may have them in its names.
std::string random_text(testing::Random& random, std::size_t most) {
    static const std::vector<std::string> kPieces{"<x>",     "\"", "'", "&amp;", "{{title}}", "\xff",
                                                  "\x1b[1m", "\n", "ü", "😀",     " ",         "a",
                                                  "12 d",    "/",  "`", "word"};
    std::string text;
    while (text.size() < most && random.below(20) != 0) text += kPieces[random.below(kPieces.size())];
    return text;
}

api::Job random_job(testing::Random& random, std::uint64_t id) {
    const auto at = kNow - static_cast<std::int64_t>(random.below(60 * kDay)) + 3600;
    const auto* directory = random.below(2) == 0 ? "/mnt/pve/nas/dump" : "/var/lib/vz/dump";
    auto job =
        job_of(id, path_at(100 + random.below(5), at, directory), static_cast<JobState>(random.below(9)));
    if (random.below(10) == 0) job.path = fmt::format("/x/{}.vma", random_text(random, 300));
    if (random.below(4) == 0) job.kind = api::JobKind::verify;
    if (random.below(8) == 0) job.waiting_for = api::WaitReason::grace_period;
    if (random.below(2) == 0) job.storage = random.below(3) == 0 ? random_text(random, 60) : "nas";
    if (random.below(2) == 0) job.guest = random_text(random, 200);
    if (random.below(4) != 0) job.size_after = random.below(UINT64_C(1) << 40);
    job.reason = random_text(random, 3000);
    job.damaged = random.below(2) == 0;
    if (random.below(2) == 0) {
        job.since = since_of(random.below(UINT64_C(1) << 40));
        for (auto disks = random.below(4); disks > 0; --disks)
            job.since->disks.push_back(
                {.disk = random_text(random, 40),
                 .bytes = random.next() >> random.below(64),
                 .new_bytes = random.below(1 << 30),
                 .largest =
                     api::NewStretch{random.next() >> random.below(64), random.next() >> random.below(64),
                                     random.below(1 << 30), random_text(random, 40)}});
    }
    if (random.below(3) == 0)
        job.damage.push_back(
            {random_text(random, 30), random.next(), random.next(), random_text(random, 30)});
    return job;
}

api::ArchiveRecord random_record(testing::Random& random) {
    const auto at = kNow - static_cast<std::int64_t>(random.below(60 * kDay));
    api::ArchiveRecord record{.path = path_at(100 + random.below(8), at)};
    record.backup_at = at;
    record.size_bytes = random.below(UINT64_C(1) << 40);
    record.guest = random_text(random, 60);
    record.verdict = static_cast<api::Verdict>(random.below(3));
    record.fault = random_text(random, 500);
    if (random.below(2) == 0) record.verified_at = kNow - static_cast<std::int64_t>(random.below(60 * kDay));
    if (random.below(2) == 0) record.new_bytes = random.below(1 << 30);
    return record;
}

ReportInput random_input(testing::Random& random) {
    auto input = input_of({});
    input.since =
        kNow - static_cast<std::int64_t>(random.below(random.below(2) == 0 ? 10 * kDay : 1000 * kDay));
    for (auto jobs = random.below(40); jobs > 0; --jobs) input.jobs.push_back(random_job(random, 41 - jobs));
    std::set<std::string> paths;
    for (auto records = random.below(40); records > 0; --records)
        if (auto record = random_record(random); paths.insert(record.path).second)
            input.archives.push_back(record);
    return input;
}

template <typename Items, typename Sums>
BackupSums sum_of(const Items& items, const Sums& sums_of) {
    BackupSums sum;
    for (const auto& item : items) {
        const BackupSums& sums = sums_of(item);
        sum.backups += sums.backups;
        sum.bytes += sums.bytes;
        sum.compared_backups += sums.compared_backups;
        sum.compared_bytes += sums.compared_bytes;
        sum.new_bytes += sums.new_bytes;
    }
    return sum;
}

/// A console that is no terminal and has this width.
Console console_of(std::size_t columns) {
    ::setenv("COLUMNS", fmt::format("{}", columns).c_str(), 1);
    const Console console;
    ::unsetenv("COLUMNS");
    return console;
}

}  // namespace

TEST_CASE("law: a report adds up, by time, guest and storage") {
    testing::Random random(1);
    for (int round = 0; round < 300; ++round) {
        const auto input = random_input(random);
        const auto report = backup_report(input);
        const auto itself = [](const BackupSums& sums) { return sums; };
        const auto of_row = [](const auto& row) { return row.sums; };
        CHECK(sum_of(report.slots, itself) == report.sums);
        CHECK(sum_of(report.guests, of_row) == report.sums);
        CHECK(sum_of(report.storages, of_row) == report.sums);
        for (const auto& row : report.guests) CHECK(sum_of(row.slots, itself) == row.sums);
        CHECK(report.archives == input.archives.size());
        CHECK(report.sums.compared_bytes <= report.sums.bytes);

        std::uint64_t unverified = 0;
        for (const auto& row : report.guests) unverified += row.unverified;
        CHECK(unverified == report.unverified);
        const auto damaged =
            std::count_if(input.archives.begin(), input.archives.end(),
                          [](const auto& record) { return record.verdict == api::Verdict::damaged; });
        CHECK(report.damages.size() >= static_cast<std::size_t>(damaged));
    }
}

TEST_CASE("law: slots of time are few, without a gap, and end with today") {
    testing::Random random(2);
    for (int round = 0; round < 300; ++round) {
        const auto report = backup_report(random_input(random));
        const auto& begins = report.slot_begins;
        REQUIRE(begins.size() == report.slots.size() + 1);
        CHECK(report.slots.size() >= 1);
        CHECK(report.slots.size() <= kMaxSlots);
        CHECK(begins.back() == day_begin(kNow, 1));
        for (std::size_t i = 1; i < begins.size(); ++i)
            CHECK(begins[i] == day_begin(begins[i - 1], static_cast<int>(report.days_per_slot)));
    }
}

TEST_CASE("a period of any length has its slots") {
    for (const std::int64_t days : {0, 1, 7, 33, 34, 35, 200, 3650, 100'000'000}) {
        auto input = input_of({job_of(1, path_at(100, kNow - std::min<std::int64_t>(days, 400) * kDay))});
        input.since = kNow - days * kDay;
        const auto report = backup_report(input);
        CAPTURE(days);
        CHECK(report.sums.backups == 1);
        CHECK(report.slots.front().backups == 1);
        CHECK(report.slots.size() <= kMaxSlots);
    }
}

TEST_CASE("a backup counts once, at the time when it was made, with the last that is known of it") {
    const auto path = path_at(100, kNow - 2 * kDay);
    auto first = job_of(1, path);
    first.since = since_of(10);
    first.guest = "old";
    auto second = job_of(2, path, JobState::unchanged);
    second.size_after = 900;
    second.guest = "new";
    api::ArchiveRecord record{
        .path = path, .storage = "nas", .backup_at = kNow - 2 * kDay, .size_bytes = 900};
    record.new_bytes = 11;
    const auto report = backup_report(input_of({first, second}, {record}));
    CHECK(report.sums == BackupSums{1, 900, 1, 900, 10});
    REQUIRE(report.guests.size() == 1);
    CHECK(report.guests[0].guest.name == "new");
    CHECK(report.guests[0].guest.storage == "nas");
    CHECK(report.slots[5].backups == 1);
    CHECK(report.growths.size() == 1);

    // Jobs are forgotten sooner than archives.
    CHECK(backup_report(input_of({}, {record})).sums == BackupSums{1, 900, 1, 900, 11});
    // What was damaged from the start is none.
    record.verdict = api::Verdict::damaged;
    CHECK(backup_report(input_of({}, {record})).sums.backups == 0);
    // Neither what is older nor what a clock has made of the future.
    for (const auto at : {kNow - 8 * kDay, kNow + 2 * kDay})
        CHECK(backup_report(input_of({job_of(1, path_at(100, at))})).sums == BackupSums{});
}

TEST_CASE("the storage of a directory is known when one job or archive there names it") {
    auto named = job_of(1, path_at(100, kNow - kDay));
    named.storage = "nas";
    const auto report = backup_report(input_of(
        {named, job_of(2, path_at(100, kNow - 2 * kDay)), job_of(3, path_at(101, kNow - kDay, "/backup"))}));
    REQUIRE(report.storages.size() == 2);
    CHECK(report.storages[0].storage == "/backup");
    CHECK(report.storages[1].storage == "nas");
    CHECK(report.storages[1].sums.backups == 2);
}

TEST_CASE("failures that still count are told by guest, and damage by archive") {
    auto failed = job_of(1, path_at(100, kNow - kDay), JobState::failed);
    failed.reason = "first";
    auto again = job_of(2, path_at(100, kNow - 2 * kDay), JobState::failed);
    again.reason = "second";
    auto acknowledged = job_of(3, path_at(101, kNow - kDay), JobState::cancelled);
    auto broken = job_of(4, path_at(102, kNow - kDay), JobState::failed);
    broken.damaged = true;
    broken.reason = "cut off";
    api::ArchiveRecord rotten{.path = path_at(103, kNow - 90 * kDay), .backup_at = kNow - 90 * kDay};
    rotten.verdict = api::Verdict::damaged;
    rotten.fault = "rotten";
    rotten.verified_at = kNow - 50 * kDay;
    auto look = job_of(5, rotten.path, JobState::failed);
    look.kind = api::JobKind::verify;
    look.reason = "one region is damaged";
    look.damage = {{"drive-scsi0", 4096, 2048, "1 (ext4)"}};
    const auto report = backup_report(input_of({failed, again, acknowledged, broken, look}, {rotten}));
    REQUIRE(report.failures.size() == 1);
    CHECK(report.failures[0].jobs == 2);
    CHECK(report.failures[0].last.reason == "second");
    REQUIRE(report.damages.size() == 2);
    CHECK(report.damages[0].fault == "cut off");
    CHECK(report.damages[1].fault == "one region is damaged");
    CHECK(report.damages[1].places.size() == 1);
    CHECK(report.damages[1].last_good_at == kNow - 50 * kDay);
    CHECK(report.unverified == 0);
}

TEST_CASE("an archive that nobody found good lately is told, and the guest by the worst of them") {
    std::vector<api::ArchiveRecord> archives;
    for (const std::int64_t days : {1, 29, 31, 60})
        archives.push_back({.path = path_at(100, kNow - days * kDay),
                            .backup_at = kNow - days * kDay,
                            .verified_at = kNow - days * kDay});
    auto report = backup_report(input_of({}, archives));
    CHECK(report.unverified == 2);
    CHECK(report.guests.at(0).verified_at == kNow - 60 * kDay);
    archives[0].verified_at.reset();
    report = backup_report(input_of({}, archives));
    CHECK(report.unverified == 3);
    CHECK_FALSE(report.guests.at(0).verified_at);
}

TEST_CASE("law: the text fits its columns, whatever guests are called") {
    testing::Random random(3);
    for (const auto* locale : {"C", "C.UTF-8"}) {
        ::setenv("LC_ALL", locale, 1);
        for (int round = 0; round < 200; ++round) {
            const auto report = backup_report(random_input(random));
            const auto text = report_text(report, random.below(2) == 0, console_of(80));
            for (std::size_t at = 0; at < text.size();) {
                const auto end = text.find('\n', at);
                REQUIRE(end != text.npos);
                const auto line = text.substr(at, end - at);
                // Paths are whole.
                if (!line.starts_with("    /")) CHECK_MESSAGE(text_width(in_locale(line)) <= 80, line);
                CHECK(printable(line) == line);
                at = end + 1;
            }
        }
        ::unsetenv("LC_ALL");
    }
}

TEST_CASE("law: a page has the markup of the template alone, in ASCII and in lines that mail can carry") {
    testing::Random random(4);
    for (int round = 0; round < 200; ++round) {
        const auto input = random_input(random);
        const auto page = report_page(backup_report(input));
        CHECK(page.ends_with("</html>\n"));
        CHECK(std::all_of(page.begin(), page.end(),
                          [](unsigned char byte) { return byte == '\n' || (byte >= 0x20 && byte < 0x7f); }));
        for (std::size_t at = 0; at < page.size(); at = page.find('\n', at) + 1)
            CHECK(page.find('\n', at) - at < 998);
        // No name has got through as markup, and none was taken for a part of the template.
        for (const auto* piece : {"<x", "x>", "&amp;", "`"}) CHECK(page.find(piece) == page.npos);
    }
}

TEST_CASE("JSON has the sums") {
    auto job = job_of(1, path_at(100, kNow - kDay));
    job.since = since_of(30);
    const nlohmann::json json = backup_report(input_of({job}));
    CHECK(json.at("host") == "pve1");
    CHECK(json.at("new_bytes") == 30);
    CHECK(json.at("guests").at(0).at("vmid") == 100);
    CHECK(json.at("growths").at(0).at("since").at("new_bytes") == 30);
    CHECK(json.at("slots").size() == 8);
}
