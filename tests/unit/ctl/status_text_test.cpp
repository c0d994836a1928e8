#include "ctl/text/status_text.hpp"

#include <cstdlib>
#include <ctime>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include "ctl/text/job_text.hpp"
#include "ctl/text/printable_text.hpp"
#include "support/random.hpp"

using namespace vmad;
using namespace vmad::ctl;
using api::JobState;

namespace {

constexpr std::int64_t kNow = 1'709'208'309;

/// A console that is no terminal and has this width.
Console console_of(std::size_t columns) {
    ::setenv("COLUMNS", fmt::format("{}", columns).c_str(), 1);
    const Console console;
    ::unsetenv("COLUMNS");
    return console;
}

api::Job random_job(testing::Random& random, std::uint64_t id) {
    api::Job job;
    job.id = id;
    job.vmid =
        random.below(2) == 0 ? std::optional<std::uint64_t>(100 + random.below(900'000)) : std::nullopt;
    job.path =
        fmt::format("/mnt/pve/nas/dump/vzdump-qemu-{}-2024_02_29-13_05_09.vma.zst", job.vmid.value_or(0));
    job.state = static_cast<JobState>(random.below(9));
    job.queued_at = kNow - static_cast<std::int64_t>(random.below(10'000'000));
    if (random.below(2) == 0) job.started_at = job.queued_at + 5;
    if (random.below(2) == 0) job.ended_at = job.queued_at + static_cast<std::int64_t>(random.below(90'000));
    if (random.below(2) == 0) job.retry_at = kNow + static_cast<std::int64_t>(random.below(4000));
    if (random.below(2) == 0) job.size_before = random.below(UINT64_C(1) << 42);
    if (random.below(2) == 0) job.size_after = random.below(UINT64_C(1) << 42);
    if (random.below(2) == 0)
        job.since = {.archive = "b", .archive_at = kNow, .new_bytes = random.below(UINT64_C(1) << 42)};
    if (random.below(2) == 0) job.guest = std::string(random.below(80), 'g');
    if (random.below(2) == 0) job.storage = std::string(random.below(30), 's');
    if (random.below(2) == 0) job.reason = std::string(random.below(200), 'r');
    if (random.below(2) == 0) job.kind = api::JobKind::verify;
    job.damaged = job.paused = random.below(2) == 0;
    if (random.below(2) == 0)
        job.progress = api::JobProgress{"repacking", random.below(1 << 30), 1 << 30,
                                        random.below(UINT64_C(1) << 32), random.below(40'000)};
    return job;
}

std::vector<api::Job> random_jobs(testing::Random& random, std::uint64_t count) {
    std::vector<api::Job> jobs;
    for (std::uint64_t i = 0; i < count; ++i) jobs.push_back(random_job(random, 1 + random.below(20'000)));
    return jobs;
}

void check_width(const std::string& text, std::size_t width) {
    for (std::size_t at = 0; at < text.size();) {
        const auto end = text.find('\n', at);
        REQUIRE(end != text.npos);
        CAPTURE(text.substr(at, end - at));
        CHECK(text_width(text.substr(at, end - at)) <= width);
        at = end + 1;
    }
}

}  // namespace

TEST_CASE("law: a status fits 80 columns, whatever there is") {
    testing::Random random(1);
    for (int round = 0; round < 300; ++round) {
        api::Status status;
        status.version = "1.20.300";
        status.pid = 4'194'304;
        status.started_at = kNow - static_cast<std::int64_t>(random.below(10'000'000));
        status.workers = static_cast<std::uint32_t>(random.below(100));
        for (std::size_t i = 0; i < api::kJobStateNames.size(); ++i)
            for (auto* counts : {&status.counts, &status.verify_counts})
                (*counts)[static_cast<JobState>(i)] = random.below(3) == 0 ? 0 : random.below(20'000);
        for (auto* count : {&status.archives.known, &status.archives.damaged, &status.archives.overdue})
            *count = random.below(3) == 0 ? 0 : random.below(20'000);
        status.verify_counts[JobState::publishing] = 0;
        // No more than there are workers.
        status.counts[JobState::running] = random.below(100);
        status.counts[JobState::publishing] = random.below(100);
        if (random.below(2) == 0) status.hold = static_cast<api::Hold>(random.below(3));
        if (random.below(2) == 0) status.hold_until = kNow + static_cast<std::int64_t>(random.below(80'000));
        if (random.below(2) == 0) status.oldest_at = kNow - 100'000;
        status.totals.done = random.below(1'000'000);
        status.totals.bytes_before = random.below(UINT64_C(1) << 55);
        status.totals.bytes_after = random.below(UINT64_C(1) << 55);
        if (random.below(2) == 0) status.totals.last_success_at = kNow - 5;
        if (random.below(2) == 0) status.totals.last_failure_at = kNow - 5;
        status.active = random_jobs(random, random.below(3));
        status.recent = random_jobs(random, random.below(20));
        status.waiting = random_jobs(random, random.below(8));
        status.counts[JobState::waiting] = status.waiting.size() + random.below(1000);
        HookWarning hook{random.below(2) == 0, {}};
        for (auto jobs = random.below(4); jobs > 0; --jobs)
            hook.overriding_jobs.push_back(std::string(random.below(60), 'j'));
        check_width(status_text(status, hook, kNow, console_of(80)), 80);
    }
}

TEST_CASE("a queue without work is told in a few lines") {
    api::Status status;
    status.version = "1.0";
    status.pid = 7;
    status.workers = 1;
    status.started_at = kNow;
    ::setenv("TZ", "UTC", 1);
    ::tzset();
    CHECK(status_text(status, {}, kNow, console_of(80)) ==
          "daemon  vmad 1.0, pid 7, 1 worker\n"
          "up      0 s, since 2024-02-29T12:05:09+00:00\n"
          "jobs    no pending jobs\n"
          "done    0 archives\n");
    status.hold = api::Hold::start_window;
    status.hold_until = kNow + 35'691;
    const auto text = status_text(status, {}, kNow, console_of(80));
    CHECK(text.find("held    no jobs start until 22:00, in 9 h (start_window)\n") != text.npos);
    ::unsetenv("TZ");
    ::tzset();
}

TEST_CASE("a hook that does not tell of backups stands in the header") {
    api::Status status;
    const auto line_of = [&](const HookWarning& hook) {
        const auto text = status_text(status, hook, kNow, console_of(80));
        const auto begin = text.find("hook ");
        return begin == text.npos ? "" : text.substr(begin, text.find("jobs   ") - begin);
    };
    CHECK(line_of({}).empty());
    CHECK(line_of({true, {}}) ==
          "hook    not enabled, backups are not announced; run \"vmactl hook enable\"\n");
    CHECK(line_of({false, {"x"}}) ==
          "hook    backup job \"x\" has its own script; see \"vmactl hook status\"\n");
    CHECK(line_of({false, {"x\n\x1b", "y"}}) ==
          "hook    2 backup jobs have their own script; see \"vmactl hook status\"\n");
    CHECK(line_of({false, {"\x1b[1m"}}).find("job \"\\x1b[1m\" has") != std::string::npos);
}

TEST_CASE("of many waiting jobs the first are shown") {
    api::Status status;
    testing::Random random(2);
    status.waiting = random_jobs(random, api::kMaxWaitingJobs);
    status.counts[JobState::waiting] = 10'000;
    const auto text = status_text(status, {}, kNow, console_of(80));
    CHECK(text.find("and 9995 more; see \"vmactl list --state waiting\"\n") != text.npos);
    CHECK(text.size() < 6000);
}

TEST_CASE("a table of jobs names backups by guest and time, and wraps reasons") {
    api::Job job;
    job.id = 12345;
    job.vmid = 100;
    job.path = "/mnt/pve/nas/dump/vzdump-qemu-100-2024_02_29-13_05_09.vma.zst";
    job.queued_at = kNow - 59 * 60;
    auto waiting = job;
    waiting.id = 7;
    waiting.guest = "web";
    waiting.storage = "nas";
    waiting.state = JobState::waiting;
    waiting.reason =
        "12 GiB are missing on /mnt/pve/nas: the copy needs 30 GiB, and 18 GiB may be used there";
    waiting.retry_at = kNow + 300;
    waiting.size_before = UINT64_C(4) << 30;
    auto strange = job;
    strange.id = 8;
    strange.vmid.reset();
    strange.path = "/mnt/pve/nas/dump/" + std::string(80, 'x') + ".vma";
    CHECK(job_table({waiting, job, strange}, kNow, console_of(80)) ==
          "   ID  VMID  GUEST  BACKUP       STORAGE  STATE          WHEN     SIZE  FORMAT\n"
          "    7   100  web    02-29 13:05  nas      waiting    in 5 min  4.0 GiB  zst\n"
          "    12 GiB are missing on /mnt/pve/nas: the copy needs 30 GiB, and 18 GiB may be\n"
          "    used there\n"
          "12345   100  -      02-29 13:05  -        queued   59 min ago        -  zst\n"
          "    8     -  -      -            -        queued   59 min ago        -  vma\n"
          "    /mnt/pve/nas/dump/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n"
          "    xxxxxxxxxxxxxxxxxxxxxx.vma\n");
    CHECK(job_table({}, kNow, console_of(80)).empty());
}

TEST_CASE("a table of jobs says what is new where that is known, and keeps it longer than the size") {
    api::Job job;
    job.id = 12;
    job.vmid = 100;
    job.path = "/mnt/pve/nas/dump/vzdump-qemu-100-2024_02_29-13_05_09.vma.zst";
    job.state = JobState::done;
    job.guest = "mail";
    job.storage = "nas";
    job.ended_at = kNow - 59 * 60;
    job.size_after = UINT64_C(5) << 30;
    auto next = job;
    next.id = 13;
    next.since = {.archive = "b", .archive_at = kNow, .new_bytes = 37 << 20};
    CHECK(job_table({job, next}, kNow, console_of(90)) ==
          "ID  VMID  GUEST  BACKUP       STORAGE  STATE        WHEN     NEW     SIZE  FORMAT\n"
          "12   100  mail   02-29 13:05  nas      done   59 min ago       -  5.0 GiB  zst\n"
          "13   100  mail   02-29 13:05  nas      done   59 min ago  37 MiB  5.0 GiB  zst\n");
    CHECK(job_table({next}, kNow, console_of(64)) ==
          "ID  VMID  GUEST  BACKUP       STORAGE  STATE        WHEN     NEW\n"
          "13   100  mail   02-29 13:05  nas      done   59 min ago  37 MiB\n");
}

TEST_CASE("what is new in a day and in a week stands by guest, the most first") {
    std::vector<api::GuestSummary> guests{{.vmid = 100,
                                           .storage = "nas",
                                           .guest = "web",
                                           .week_backups = 7,
                                           .week_bytes = UINT64_C(7) << 30,
                                           .week_new_bytes = 212 << 20,
                                           .last_new_bytes = 1 << 20},
                                          {.vmid = 101,
                                           .storage = "nas",
                                           .guest = "mail",
                                           .day_backups = 1,
                                           .day_bytes = UINT64_C(5) << 30,
                                           .day_new_bytes = 37 << 20,
                                           .week_backups = 7,
                                           .week_bytes = UINT64_C(35) << 30,
                                           .week_new_bytes = 999 << 20},
                                          {.vmid = 102, .backups = 3}};
    CHECK(growth_table(guests, console_of(80)) ==
          "\n"
          "VMID  GUEST  STORAGE     NEW, LAST 24 H    NEW, LAST 7 DAYS\n"
          " 101  mail   nas      37 MiB of 5.0 GiB   999 MiB of 35 GiB\n"
          " 100  web    nas                      -  212 MiB of 7.0 GiB\n");
    guests[0].last_new_bytes.reset();
    CHECK(growth_table(guests, console_of(80)).empty());
    CHECK(growth_table({}, console_of(80)).empty());
    guests.assign(5000, {.vmid = 999'999'999,
                         .storage = std::string(40, 's'),
                         .guest = std::string(60, 'g'),
                         .day_backups = 1,
                         .day_bytes = 1023 << 20,
                         .day_new_bytes = 1023 << 20,
                         .week_backups = 1,
                         .week_bytes = 1023 << 20,
                         .last_new_bytes = 5});
    const auto text = growth_table(guests, console_of(80));
    check_width(text, 80);
    CHECK(text.ends_with("and 4990 more; see \"vmactl report\"\n"));
}

TEST_CASE("law: no table and no width loses a part of a reason") {
    api::Job job;
    job.path = "/d/vzdump-qemu-100-2024_02_29-13_05_09.vma.zst";
    for (int word = 0; word < 60; ++word) job.reason += fmt::format("{}word{}", word == 0 ? "" : " ", word);
    for (const std::size_t width : {40, 60, 80, 200}) {
        auto text = job_table({job}, kNow, console_of(width));
        for (int word = 0; word < 60; ++word) CHECK(text.find(fmt::format("word{}", word)) != text.npos);
    }
}

TEST_CASE("law: a table of jobs fits 80 columns") {
    testing::Random random(3);
    for (int round = 0; round < 300; ++round)
        check_width(job_table(random_jobs(random, random.below(10)), kNow, console_of(80)), 80);
}
