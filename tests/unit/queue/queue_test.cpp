#include "queue/queue.hpp"

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <random>
#include <set>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include "queue/transition.hpp"
#include "state_directory.hpp"
#include "support/run_outcome.hpp"

using namespace vmad;
using namespace vmad::queue;
using namespace vmad::queue::test;
using api::Job;
using api::JobKind;
using api::JobState;
using support::FaultFileSystem;
using support::Outcome;
namespace outcome = support::outcome;

TEST_CASE("a new path is queued, and while it is queued there is one job for it") {
    Fixture f;
    const auto first = f.queue->enqueue({"/a", "/mnt"}, false, 100);
    CHECK(first.created);
    CHECK(first.job.id == 1);
    CHECK(first.job.state == JobState::queued);
    CHECK(first.job.queued_at == 100);
    CHECK(first.job.mount_point == "/mnt");
    CHECK_FALSE(first.job.announced);

    const auto again = f.queue->enqueue({"/a", "/mnt/a"}, true, 200);
    CHECK_FALSE(again.created);
    CHECK(again.job.id == 1);
    CHECK(again.job.announced);
    CHECK(again.job.mount_point == "/mnt/a");
    CHECK(again.job.queued_at == 100);

    // Somebody who has not seen the file takes nothing back.
    const auto third = f.queue->enqueue({"/a", "/"}, false, 300);
    CHECK(third.job.announced);
    CHECK(third.job.mount_point == "/mnt/a");
    CHECK(f.add("/b") == 2);
    CHECK(f.queue->jobs().size() == 2);
}

TEST_CASE("a run from start to a good end") {
    for (const auto& [ending, state] :
         {std::pair(outcome::done, JobState::done), std::pair(outcome::unchanged, JobState::unchanged),
          std::pair(outcome::vanished, JobState::vanished)}) {
        Fixture f;
        const auto id = f.add("/a");
        CHECK(f.queue->start(id, "", 10).state == JobState::running);
        CHECK(f.queue->find(id)->attempts == 1);
        CHECK(f.queue->find(id)->started_at == 10);
        f.queue->save_recovery(id, {JobState::running, kRecord});
        CHECK(f.queue->save_recovery(id, {JobState::publishing, kRecord}).state == JobState::publishing);
        const auto end = f.queue->finish(id, ending.sized(200, 100), 20);
        CHECK(end.next == nullptr);
        CHECK(end.job.state == state);
        CHECK(end.job.ended_at == 20);
        CHECK(end.job.attempts == 0);
        CHECK(end.job.size_before == 200);
        CHECK(end.job.size_after == 100);
        CHECK(end.job.recovery.empty());
        CHECK(f.queue->find("/a") == &end.job);
        // The next backup under that name is a new job.
        CHECK(f.add("/a") == 2);
        CHECK(f.queue->find("/a")->id == 2);
    }
}

TEST_CASE("a damaged archive fails at once") {
    Fixture f;
    const auto id = f.add("/a");
    f.queue->start(id, "", 1);
    const auto end = f.finish(id, outcome::failed, 2, "at byte 512: bad magic");
    CHECK(end.job.state == JobState::failed);
    CHECK(end.job.reason == "at byte 512: bad magic");
    CHECK(end.job.ended_at == 2);
}

TEST_CASE("transient failures wait longer each time, and the eighth in a row is the last") {
    Fixture f;
    const auto id = f.add("/a");
    std::int64_t now = 0;
    for (std::uint32_t tries = 1; tries < kMostFailedAttempts; ++tries) {
        f.queue->start(id, "", now);
        const Job& job = f.finish(id, outcome::retry, now, "read: I/O error").job;
        REQUIRE(job.state == JobState::waiting);
        CHECK(job.reason == "read: I/O error");
        CHECK(job.failed_attempts == tries);
        CHECK(job.attempts == 0);
        CHECK(job.retry_at == now + transient_delay(tries));
        now = *job.retry_at;
        f.restart(now);
    }
    f.queue->start(id, "", now);
    CHECK(f.queue->find(id)->reason.empty());
    CHECK_FALSE(f.queue->find(id)->retry_at);
    const Job& job = f.finish(id, outcome::retry, now, "read: stale handle").job;
    CHECK(job.state == JobState::failed);
    CHECK(job.reason == "read: stale handle");
}

TEST_CASE("a lack of space or storage, and an archive that is locked or too recent, wait without a limit") {
    for (const auto ending : {outcome::no_space, outcome::no_storage, outcome::locked, outcome::too_recent}) {
        Fixture f;
        const auto id = f.add("/a");
        f.queue->start(id, "", 0);
        f.finish(id, outcome::retry, 0, "read: I/O error");
        std::int64_t now = 60;
        for (int i = 0; i < 100; ++i) {
            f.queue->start(id, "", now);
            const Job& job = f.finish(id, ending, now, "lacking").job;
            REQUIRE(job.state == JobState::waiting);
            CHECK(job.failed_attempts == 0);  // no longer in a row
            CHECK(job.retry_at == now + condition_delay(now));
            now = *job.retry_at;
        }
        CHECK(f.queue->find(id)->retry_at == now);
    }
}

TEST_CASE("three deaths of the worker end a job, and a result in between starts the count anew") {
    Fixture f;
    const auto id = f.add("/a");
    const auto die = [&] {
        f.queue->start(id, "", 1);
        return f.queue->worker_died(id, "signal 11", 2);
    };
    CHECK(die().job.state == JobState::queued);
    CHECK(die().job.state == JobState::queued);
    f.queue->start(id, "", 1);
    f.finish(id, outcome::locked, 2, "locked");
    CHECK(die().job.state == JobState::queued);
    CHECK(die().job.state == JobState::queued);
    f.restart();
    CHECK(die().job.state == JobState::failed);
    CHECK(f.queue->find(id)->reason == "worker died (signal 11)");
    CHECK(f.queue->find(id)->ended_at == 2);
}

TEST_CASE("a worker that was told to stop is not a death") {
    Fixture f;
    const auto id = f.add("/a");
    f.queue->start(id, "", 1);
    f.queue->worker_died(id, "signal 9", 2);
    for (int i = 0; i < 10; ++i) {
        f.queue->start(id, "", 1);
        const Job& job = f.finish(id, outcome::stopped, 2).job;
        CHECK(job.state == JobState::queued);
        CHECK(job.attempts == 1);
    }
}

TEST_CASE("a path that is named again while it runs gets a job of its own afterwards") {
    Fixture f;
    const auto id = f.add("/a", true);
    f.queue->start(id, "", 1);
    const auto again = f.queue->enqueue({"/a", "/"}, false, 2);
    CHECK_FALSE(again.created);
    CHECK(again.job.id == id);
    CHECK(again.job.run_again);
    CHECK(again.job.state == JobState::running);
    f.queue->save_recovery(id, {JobState::publishing, kRecord});
    f.add("/a");
    const auto end = f.finish(id, outcome::done, 5);
    REQUIRE(end.next != nullptr);
    CHECK(end.job.state == JobState::done);
    CHECK(end.next->id == 2);
    CHECK(end.next->state == JobState::queued);
    CHECK(end.next->path == "/a");
    CHECK(end.next->queued_at == 5);
    CHECK(end.next->mount_point == "/mnt");
    CHECK_FALSE(end.next->announced);  // no hook has named the new file
    CHECK(f.queue->find("/a") == end.next);
    f.restart();
    CHECK(f.queue->jobs().size() == 2);
}

TEST_CASE("the hook's word for the next run outlives a later naming without it") {
    Fixture f;
    const auto id = f.add("/a");
    f.queue->start(id, "", 1);
    f.add("/a", true);
    f.add("/a", false);
    CHECK(f.finish(id, outcome::vanished, 5).next->announced);
}

TEST_CASE("a job that was named again while it ran is queued instead of waiting") {
    for (const auto ending : {outcome::retry, outcome::no_storage, outcome::stopped}) {
        Fixture f;
        const auto id = f.add("/a");
        f.queue->start(id, "", 1);
        f.add("/a", true);
        const auto end = f.finish(id, ending, 5, "changed while reading");
        CHECK(end.next == nullptr);
        CHECK(end.job.state == JobState::queued);
        CHECK_FALSE(end.job.run_again);
        CHECK(end.job.announced);
        CHECK(end.job.failed_attempts == 0);
        CHECK(end.job.reason.empty());
    }
}

TEST_CASE("a waiting job is queued at once when a hook names it, and only then") {
    Fixture f;
    const auto id = f.add("/a");
    f.queue->start(id, "", 1);
    f.finish(id, outcome::retry, 2, "read: I/O error");
    const Job before = *f.queue->find(id);
    CHECK(f.add("/a", false, 3) == id);
    CHECK(*f.queue->find(id) == before);
    CHECK(f.add("/a", true, 4) == id);
    const Job& job = *f.queue->find(id);
    CHECK(job.state == JobState::queued);
    CHECK(job.queued_at == 4);
    CHECK(job.failed_attempts == 0);
    CHECK(job.announced);
    CHECK(job.reason.empty());
    CHECK_FALSE(job.retry_at);
}

TEST_CASE("a job that does not run is cancelled at once") {
    Fixture f;
    const auto queued = f.add("/queued");
    CHECK(f.queue->cancel(queued, 5).state == JobState::cancelled);
    CHECK(f.queue->find(queued)->ended_at == 5);
    CHECK(f.queue->cancel(queued, 6).ended_at == 5);
    const auto waiting = f.add("/waiting");
    f.queue->start(waiting, "", 1);
    f.finish(waiting, outcome::no_space, 2, "no space");
    const Job& job = f.queue->cancel(waiting, 7);
    CHECK(job.state == JobState::cancelled);
    CHECK(job.reason.empty());
    CHECK_FALSE(job.retry_at);
}

TEST_CASE("a job that runs is cancelled when its worker is gone, unless it has ended by then") {
    const auto cleaned_up = [](Outcome ending) {
        auto result = ending.because("why");
        result.cleaned_up = true;
        return result;
    };
    const auto run_and_cancel = [](Fixture& f) {
        const auto id = f.add("/a");
        f.queue->start(id, "", 1);
        f.queue->save_recovery(id, {JobState::publishing, kRecord});
        CHECK(f.queue->cancel(id, 2).state == JobState::publishing);
        return id;
    };
    for (const auto ending : {outcome::stopped, outcome::retry, outcome::no_storage}) {
        Fixture f;
        const auto end = f.queue->finish(run_and_cancel(f), cleaned_up(ending), 3);
        CHECK(end.job.state == JobState::cancelled);
        CHECK(end.job.reason.empty());
        CHECK(end.job.ended_at == 3);
        CHECK(end.job.recovery.empty());
        CHECK(end.next == nullptr);
        // The wish was for one run only.
        const auto id = f.queue->retry(end.job.id, 4).id;
        f.queue->start(id, "", 5);
        CHECK(f.finish(id, outcome::stopped, 6).job.state == JobState::queued);
    }
    {
        Fixture f;
        CHECK(f.finish(run_and_cancel(f), outcome::done, 3).job.state == JobState::done);
    }
    {
        // What is named after the wish is another archive.
        Fixture f;
        const auto id = run_and_cancel(f);
        f.add("/a", true);
        const auto end = f.queue->finish(id, cleaned_up(outcome::stopped), 3);
        CHECK(end.job.state == JobState::cancelled);
        REQUIRE(end.next != nullptr);
        CHECK(end.next->state == JobState::queued);
        CHECK(end.next->announced);
    }
    {
        // It also is where there is something to recover.
        Fixture f;
        const auto id = run_and_cancel(f);
        f.add("/a", true);
        const auto end = f.queue->worker_died(id, "signal 9", 3);
        CHECK(end.job.state == JobState::queued);
        CHECK_FALSE(only_recovers(end.job));
        CHECK(end.job.announced);
    }
}

TEST_CASE("retrying: an end or a wait becomes a queued job, unless the path has another") {
    Fixture f;
    const auto id = f.add("/a", true);
    f.queue->start(id, "", 1);
    CHECK(f.queue->retry(id, 2).state == JobState::running);
    f.finish(id, outcome::failed, 3, "bad magic");
    const Job& job = f.queue->retry(id, 4);
    CHECK(job.id == id);
    CHECK(job.state == JobState::queued);
    CHECK(job.queued_at == 4);
    CHECK(job.reason.empty());
    CHECK_FALSE(job.ended_at);
    CHECK_FALSE(job.started_at);
    CHECK(f.queue->find("/a") == &job);
    f.queue->start(id, "", 5);
    f.finish(id, outcome::no_space, 6, "no space");
    CHECK(f.queue->retry(id, 7).state == JobState::queued);
    f.queue->cancel(id, 8);
    const auto other = f.add("/a");
    CHECK(f.queue->retry(id, 9).id == other);
    CHECK(f.queue->find(id)->state == JobState::cancelled);
}

TEST_CASE("the recovery record of a killed worker is kept through deaths, the end and a retry") {
    Fixture f;
    const auto id = f.add("/a");
    for (int i = 0; i < 3; ++i) {
        f.queue->start(id, "", 1);
        f.queue->save_recovery(id, {JobState::publishing, kRecord});
        f.queue->worker_died(id, "signal 9", 2);
    }
    // It has failed, but runs once more to clean up.
    CHECK(f.queue->find(id)->state == JobState::queued);
    CHECK(only_recovers(*f.queue->find(id)));
    CHECK(only_recovers(f.queue->start(id, "", 3)));
    SUBCASE("which works") {
        f.finish(id, outcome::failed, 3, f.queue->find(id)->reason);
        CHECK(f.queue->find(id)->reason == "worker died (signal 9)");
    }
    SUBCASE("which fails too") { f.queue->worker_died(id, "signal 9", 3); }
    CHECK(f.queue->find(id)->state == JobState::failed);
    CHECK(f.queue->find(id)->recovery == kRecord);
    CHECK_FALSE(only_recovers(f.queue->retry(id, 3)));
    CHECK(f.queue->find(id)->recovery == kRecord);
    f.queue->start(id, "", 4);
    f.finish(id, outcome::no_storage, 5, "not mounted");
    CHECK(f.queue->find(id)->recovery == kRecord);
}

TEST_CASE("after a crash what ran is queued again, with its starts and its record") {
    Fixture f;
    const auto running = f.add("/running");
    const auto publishing = f.add("/publishing");
    f.queue->start(running, "", 1);
    f.add("/running", true);
    f.queue->start(publishing, "", 1);
    f.queue->save_recovery(publishing, {JobState::publishing, kRecord});
    f.restart();
    CHECK(f.queue->jobs().size() == 2);
    CHECK(f.queue->find(running)->state == JobState::queued);
    CHECK(f.queue->find(running)->attempts == 1);
    CHECK(f.queue->find(running)->announced);
    CHECK_FALSE(f.queue->find(running)->run_again);
    CHECK(f.queue->find(publishing)->state == JobState::queued);
    CHECK(f.queue->find(publishing)->recovery == kRecord);
}

TEST_CASE("a crash between the end of a job and its next one loses neither") {
    Fixture f;
    const auto id = f.add("/a", true);
    f.queue->start(id, "", 1);
    f.add("/a", true);
    f.finish(id, outcome::done, 2);
    // As if the second file had not been written.
    REQUIRE(std::filesystem::remove((f.state / "queue/2.json")));
    f.restart(7);
    REQUIRE(f.queue->find(2) != nullptr);
    CHECK(f.queue->find(2)->path == "/a");
    CHECK(f.queue->find(2)->queued_at == 7);
    CHECK(f.queue->find(2)->announced);
    f.restart(8);
    CHECK(f.queue->jobs().size() == 2);
    f.queue->cancel(2, 9);
    f.restart(10);
    CHECK(f.queue->jobs().size() == 2);
}

TEST_CASE("ids are not used twice, whatever is pruned or set aside") {
    Fixture f;
    for (const std::string path : {"/a", "/b", "/c"}) f.queue->cancel(f.add(path), 1);
    CHECK(f.queue->prune(100, 0) == std::vector<std::uint64_t>{1, 2});
    f.restart();
    CHECK(f.add("/d") == 4);
    f.state.write("queue/9.json", "{");
    f.restart();
    REQUIRE(f.queue->bad_files().size() == 1);
    CHECK(f.queue->bad_files()[0].name == "9.json");
    CHECK(f.add("/e") == 10);
}

TEST_CASE("ends are pruned by age and by number, the oldest first") {
    Fixture f;
    std::int64_t now = 100;
    for (const std::string path : {"/1", "/2", "/3", "/4", "/5"}) f.queue->cancel(f.add(path), now++);
    const auto alive = f.add("/alive");
    std::vector<std::uint64_t> ids;
    for (const Job* job : f.queue->recently_ended(3)) ids.push_back(job->id);
    CHECK(ids == std::vector<std::uint64_t>{5, 4, 3});
    CHECK(f.queue->prune(102, 100) == std::vector<std::uint64_t>{1, 2});
    CHECK(f.queue->prune(0, 2) == std::vector<std::uint64_t>{3});
    CHECK(f.queue->prune(0, 2).empty());
    CHECK(f.queue->counts()[JobState::cancelled] == 2);
    CHECK(f.queue->ended_count() == 2);
    CHECK(f.queue->oldest_ended_at() == 103);
    CHECK(f.queue->oldest_queued_at() == 0);
    CHECK(f.queue->find(alive)->state == JobState::queued);
    CHECK(names_in(f.state / "queue") == std::set<std::string>{"4.json", "5.json", "6.json"});
}

TEST_CASE("a move that the state does not allow is an error and changes nothing") {
    Fixture f;
    const auto id = f.add("/a");
    CHECK_THROWS_WITH_AS(f.queue->start(7, "", 1), "there is no job 7", base::Error);
    CHECK_THROWS_WITH_AS(f.finish(id, outcome::done, 1), "job 1 is queued, it does not run", base::Error);
    CHECK_THROWS_WITH_AS(f.queue->worker_died(id, "signal 9", 1), "job 1 is queued, it does not run",
                         base::Error);
    CHECK_THROWS_WITH_AS(f.queue->save_recovery(id, {JobState::publishing, kRecord}),
                         "job 1 is queued, it does not run", base::Error);
    f.queue->start(id, "", 1);
    CHECK_THROWS_WITH_AS(f.queue->start(id, "", 1), "job 1 is running, it cannot be started", base::Error);
    f.finish(id, outcome::done, 1);
    CHECK_THROWS_WITH_AS(f.queue->start(id, "", 1), "job 1 is done, it cannot be started", base::Error);
    CHECK(f.queue->find("/nothing") == nullptr);
}

TEST_CASE("a path that a job cannot have is refused") {
    Fixture f;
    const std::pair<std::string, const char*> table[] = {
        {"", "the path is not absolute"},
        {"a.vma", "the path is not absolute"},
        {std::string("/a\0b", 4), "the path is cut short by a NUL"},
        {"/\xff", "the path is not UTF-8"},
        {'/' + std::string(4095, 'a'), "the path is too long"},
    };
    for (const auto& [path, message] : table) CHECK_THROWS_WITH_AS(f.add(path), message, base::UsageError);
    CHECK(f.queue->jobs().empty());
    f.add('/' + std::string(4094, 'a'));
    f.add("/newline\n\x01\x7f\"\\");
    const auto jobs = f.queue->jobs();
    f.restart();
    CHECK(f.queue->jobs() == jobs);
}

namespace {

/// What the disk would say to a daemon that starts now.
std::map<std::uint64_t, Job> fresh_load(const StateDirectory& state, std::int64_t now) {
    const StateDirectory copy;
    std::filesystem::copy((state / "queue"), (copy / "queue"));
    FaultFileSystem fs;
    Spool spool(fs, copy.path());
    const Queue queue(spool, now);
    CHECK(queue.bad_files().empty());
    return queue.jobs();
}

/// A path, and what is to be done with it.
using Named = std::pair<std::string, JobKind>;

/// What the header says of running jobs after a load.
std::map<std::uint64_t, Job> as_loaded(std::map<std::uint64_t, Job> jobs) {
    for (auto& [id, job] : jobs) {
        if (job.state != JobState::running && job.state != JobState::publishing) continue;
        job.state = JobState::queued;
        if (job.run_again) {
            job.state_after_recovery.reset();
            job.reason.clear();
        }
        job.run_again = false;
    }
    return jobs;
}

}  // namespace

TEST_CASE(
    "law: on any history no naming is lost, no job doubled, no end is counted twice or not at all, and "
    "memory is what the disk says") {
    for (unsigned seed = 0; seed < 30; ++seed) {
        CAPTURE(seed);
        std::mt19937 random(seed);
        const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
        Fixture f;
        // The model: what was named and has not been started, failed or cancelled since.
        std::set<Named> owed;
        std::uint64_t last_id = 0;
        std::size_t expected_count = 0;
        std::map<JobKind, api::JobCounts> ends;  // that ever were
        std::set<std::uint64_t> had_ended;
        std::int64_t now = 1000;
        const auto created = [&](const Job& job) {
            CHECK(job.id == last_id + 1);
            last_id = job.id;
            ++expected_count;
        };
        const auto ended = [&](const Queue::Finished& end) {
            if (end.next) created(*end.next);
        };
        for (int step = 0; step < 150; ++step) {
            now += static_cast<std::int64_t>(below(100));
            const std::string path = "/" + std::to_string(below(6));
            const auto kind = below(3) == 0 ? JobKind::verify : JobKind::repack;
            const Named name{path, kind};
            const Job* job = f.queue->find(path, kind);
            const bool runs = job && (job->state == JobState::running || job->state == JobState::publishing);
            const bool startable = job && (job->state == JobState::queued || job->state == JobState::waiting);
            switch (below(10)) {
                case 0:
                case 1: {
                    const bool is_new = !job || is_final(job->state);
                    const auto enqueued = f.queue->enqueue(
                        {.path = path, .mount_point = "/mnt", .kind = kind}, below(2) != 0, now);
                    CHECK(enqueued.created == is_new);
                    if (enqueued.created) created(enqueued.job);
                    CHECK(enqueued.job.kind == kind);
                    owed.insert(name);
                    break;
                }
                case 2:
                case 3:
                case 4:
                    if (!startable) break;
                    f.queue->start(job->id, "", now);
                    owed.erase(name);
                    break;
                case 5:
                    if (runs && kind == JobKind::repack)
                        f.queue->save_recovery(job->id,
                                               {JobState::publishing, fmt::format("{{\"step\":{}}}", step)});
                    break;
                case 6:
                    if (runs) ended(f.finish(job->id, outcome::all[below(outcome::all.size())], now, "r"));
                    break;
                case 7:
                    if (runs) ended(f.queue->worker_died(job->id, "signal 9", now));
                    break;
                case 8:
                    if (job && below(3) == 0) {
                        const Job& cancelled = f.queue->cancel(job->id, now);
                        if (cancelled.state == JobState::cancelled ||
                            (cancelled.state == JobState::queued && only_recovers(cancelled)))
                            owed.erase(name);
                    } else if (job) {
                        f.queue->retry(job->id, now);
                    }
                    break;
                default:
                    if (below(4) == 0)
                        expected_count -= f.queue->prune(now - 500, 5).size();
                    else if (below(4) == 0)
                        f.restart(now);
            }
            const auto& jobs = f.queue->jobs();
            std::map<JobKind, api::JobCounts> counts;
            for (const auto& [id, one] : jobs) {
                ++counts[one.kind][one.state];
                if (is_final(one.state) && !had_ended.contains(id)) {
                    had_ended.insert(id);
                    ++ends[one.kind][one.state];
                } else if (!is_final(one.state)) {
                    had_ended.erase(id);
                }
            }
            for (const auto kind_of : {JobKind::repack, JobKind::verify})
                REQUIRE(f.queue->counts(kind_of) == counts[kind_of]);
            const auto& totals = f.queue->totals();
            auto& repacked = ends[JobKind::repack];
            REQUIRE(totals.done == repacked[JobState::done]);
            REQUIRE(totals.unchanged == repacked[JobState::unchanged]);
            REQUIRE(totals.vanished == repacked[JobState::vanished]);
            REQUIRE(totals.failed == repacked[JobState::failed]);
            REQUIRE(totals.cancelled == repacked[JobState::cancelled]);
            auto& verified = ends[JobKind::verify];
            REQUIRE(totals.verify.good == verified[JobState::done] + verified[JobState::unchanged]);
            REQUIRE(totals.verify.vanished == verified[JobState::vanished]);
            REQUIRE(totals.verify.failed == verified[JobState::failed]);
            REQUIRE(totals.verify.cancelled == verified[JobState::cancelled]);
            REQUIRE(jobs.size() == expected_count);
            REQUIRE((jobs.empty() ? 0 : jobs.rbegin()->first) == last_id);
            std::map<Named, const Job*> live;
            for (const auto& [id, one] : jobs) {
                REQUIRE(one.id == id);
                if (!is_final(one.state)) REQUIRE(live.emplace(Named{one.path, one.kind}, &one).second);
                REQUIRE((one.state == JobState::waiting) == one.retry_at.has_value());
                REQUIRE((!is_final(one.state) || one.ended_at));
                REQUIRE(is_final(one.state) == one.end_number.has_value());
                REQUIRE((one.state == JobState::waiting) == one.waiting_for.has_value());
                // A failed job that was cancelled keeps its reason.
                if (one.state == JobState::cancelled) continue;
                if (only_recovers(one))
                    REQUIRE(!one.recovery.empty());
                else
                    REQUIRE((one.state == JobState::waiting || one.state == JobState::failed) ==
                            !one.reason.empty());
            }
            for (const auto& [its, one] : live) REQUIRE(f.queue->find(its.first, its.second) == one);
            for (const auto& named : owed) {
                REQUIRE(live.contains(named));
                const Job& one = *live[named];
                const bool is_running = one.state == JobState::running || one.state == JobState::publishing;
                REQUIRE((!is_running || one.run_again));
                REQUIRE((is_running || !only_recovers(one)));
            }
            REQUIRE(fresh_load(f.state, now) == as_loaded(jobs));
        }
    }
}

TEST_CASE("the next job of a path recovers from its failed one, even after many others") {
    Fixture f;
    const auto id = f.add("/a");
    f.queue->start(id, "", 1);
    f.queue->save_recovery(id, {JobState::publishing, kRecord});
    f.finish(id, outcome::failed, 2, "it cannot be recovered");
    f.add("/b");
    CHECK(f.queue->prune(1000, 0).empty());
    f.restart();
    const auto next = f.add("/a");
    REQUIRE(next != id);
    CHECK(f.queue->find(next)->recovery == kRecord);
    CHECK(f.queue->prune(1000, 0).size() == 1);
}

TEST_CASE(
    "a grace period lasts as long as the worker says, and the job ends as of when its archive was there") {
    Fixture f;
    const auto id = f.add("/a", true, 5);
    f.queue->start(id, "/mnt/nas", 10);
    f.queue->save_recovery(id, {JobState::publishing, kRecord});
    auto result = outcome::in_grace_period.sized(200, 100);
    result.reason = "the old file is kept";
    result.retry_after_seconds = 900;
    const Job& waits = f.queue->finish(id, result, 30).job;
    CHECK(waits.state == JobState::waiting);
    CHECK(waits.waiting_for == api::WaitReason::grace_period);
    CHECK(waits.retry_at == 930);
    CHECK(waits.recovery == kRecord);
    CHECK(waits.mount_point == "/mnt/nas");
    CHECK(f.queue->totals() == api::Totals());
    f.restart(40);
    f.queue->start(id, "/", 930);
    const Job& job = f.finish(id, outcome::done, 931).job;
    CHECK(job.started_at == 10);
    CHECK(job.ended_at == 30);
    CHECK(job.mount_point == "/mnt/nas");
    CHECK(f.queue->totals().duration_seconds == 20);
}

TEST_CASE("a grace period is not cut short by queueing the path again, and not lost by a cancel") {
    auto result = outcome::in_grace_period.sized(200, 100);
    result.reason = "the old file is kept";
    result.retry_after_seconds = 900;
    for (const bool while_running : {true, false}) {
        Fixture f;
        const auto id = f.add("/a", true, 5);
        f.queue->start(id, "", 10);
        f.queue->save_recovery(id, {JobState::publishing, kRecord});
        if (while_running) f.add("/a", true, 20);
        f.queue->finish(id, result, 30);
        if (!while_running) f.add("/a", true, 40);
        CHECK(f.queue->jobs().size() == 1);
        CHECK(f.queue->find(id)->waiting_for == api::WaitReason::grace_period);
        CHECK(f.queue->find(id)->retry_at == 930);
        // To cancel it is to let it end now.
        const Job& cancelled = f.queue->cancel(id, 50);
        CHECK(cancelled.state == JobState::queued);
        CHECK_FALSE(only_recovers(cancelled));
    }
    Fixture f;
    const auto id = f.add("/a", true, 5);
    f.queue->start(id, "", 10);
    f.queue->save_recovery(id, {JobState::publishing, kRecord});
    f.queue->cancel(id, 20);
    CHECK(f.queue->finish(id, result, 30).job.waiting_for == api::WaitReason::grace_period);
}

TEST_CASE("a cancelled job whose last run left something ends after recovery, also after a restart") {
    for (const bool died : {true, false}) {
        Fixture f;
        const auto id = f.add("/a");
        f.queue->start(id, "", 1);
        f.queue->save_recovery(id, {JobState::running, kRecord});
        if (died) {
            f.queue->cancel(id, 2);
            f.queue->worker_died(id, "signal 9", 3);
        } else {
            f.finish(id, outcome::retry, 2, "EIO");
            f.queue->cancel(id, 3);
        }
        f.restart();
        CHECK(only_recovers(*f.queue->find(id)));
        const auto reason = f.queue->find(id)->reason;
        f.queue->start(id, "", 4);
        // To be stopped in the middle of it changes nothing.
        f.finish(id, outcome::stopped, 5);
        CHECK(only_recovers(*f.queue->find(id)));
        f.queue->start(id, "", 6);
        auto result = outcome::failed.because(reason);
        result.cleaned_up = true;
        const Job& end = f.queue->finish(id, result, 7).job;
        CHECK(end.state == JobState::cancelled);
        CHECK(end.recovery.empty());
        CHECK(end.reason.empty());
    }
}

TEST_CASE("what is given up stays so until it is recovered, however long that takes") {
    Fixture f;
    const auto id = f.add("/a");
    f.queue->start(id, "", 1);
    f.queue->save_recovery(id, {JobState::running, kRecord});
    f.queue->worker_died(id, "signal 9", 2);
    f.queue->cancel(id, 3);
    for (const auto ending : {outcome::no_storage, outcome::locked, outcome::retry}) {
        f.queue->start(id, "", 4);
        CHECK(f.finish(id, ending, 5, "not now").job.reason == "not now");
        CHECK(only_recovers(*f.queue->find(id)));
        f.restart();
    }
    f.queue->start(id, "", 6);
    f.queue->worker_died(id, "signal 9", 7);
    CHECK(only_recovers(*f.queue->find(id)));
    f.queue->start(id, "", 8);
    const Job& end = f.finish(id, outcome::failed, 9).job;
    CHECK(end.state == JobState::cancelled);
    CHECK(end.reason.empty());
}

TEST_CASE("a path that is queued while its job only recovers is repacked, however that run ends") {
    const auto begin = [](Fixture& f) {
        const auto id = f.add("/a");
        f.queue->start(id, "", 1);
        f.queue->save_recovery(id, {JobState::running, kRecord});
        f.finish(id, outcome::retry, 2, "EIO");
        f.queue->cancel(id, 3);
        REQUIRE(only_recovers(f.queue->start(id, "", 4)));
        f.add("/a", true, 5);
        return id;
    };
    for (const auto ending : {outcome::retry, outcome::no_storage, outcome::stopped}) {
        Fixture f;
        const Job& job = f.finish(begin(f), ending, 6, "not now").job;
        CHECK(job.state == JobState::queued);
        CHECK_FALSE(only_recovers(job));
    }
    {
        Fixture f;
        CHECK_FALSE(only_recovers(f.queue->worker_died(begin(f), "signal 9", 6).job));
    }
    {
        Fixture f;
        const auto id = begin(f);
        f.restart();
        CHECK_FALSE(only_recovers(*f.queue->find(id)));
    }
    {
        Fixture f;
        const auto end = f.finish(begin(f), outcome::failed, 6);
        CHECK(end.job.state == JobState::cancelled);
        CHECK(end.next != nullptr);
    }
}

TEST_CASE("why a job failed is still known when it was long in settling") {
    Fixture f;
    const auto id = f.add("/a");
    for (std::uint32_t death = 1; death <= kMostAttempts; ++death) {
        f.queue->start(id, "", 1);
        f.queue->save_recovery(id, {JobState::running, kRecord});
        f.queue->worker_died(id, "signal 9", 2);
    }
    REQUIRE(only_recovers(*f.queue->find(id)));
    f.queue->start(id, "", 3);
    CHECK(f.finish(id, outcome::no_storage, 4, "nothing is mounted").job.waiting_for ==
          api::WaitReason::storage);
    f.queue->start(id, "", 5);
    const Job& end = f.finish(id, outcome::failed, 6, "worker died (signal 9)").job;
    CHECK(end.state == JobState::failed);
    CHECK(end.reason == "worker died (signal 9)");
}

TEST_CASE("a job that is only to recover is run whole when its path is queued again") {
    for (const bool announced : {true, false}) {
        Fixture f;
        const auto id = f.add("/a");
        f.queue->start(id, "", 1);
        f.queue->save_recovery(id, {JobState::running, kRecord});
        f.finish(id, outcome::retry, 2, "EIO");
        CHECK(only_recovers(f.queue->cancel(id, 3)));
        const auto again = f.queue->enqueue({"/a", "/mnt"}, announced, 4);
        CHECK(again.moved);
        CHECK_FALSE(only_recovers(again.job));
        CHECK(again.job.recovery == kRecord);
    }
}

TEST_CASE("what is cleaned up needs no record, and can be forgotten") {
    Fixture f;
    const auto id = f.add("/a");
    f.queue->start(id, "", 1);
    f.queue->save_recovery(id, {JobState::running, kRecord});
    auto result = outcome::failed.because("bad magic");
    result.cleaned_up = true;
    f.queue->finish(id, result, 2);
    f.add("/b");
    CHECK(f.queue->prune(1000, 0) == std::vector<std::uint64_t>{id});
}

TEST_CASE("a job remembers the most special mount that its path was seen on, and a retry forgets it") {
    Fixture f;
    const auto id = f.queue->enqueue({"/mnt/nas/a", "/"}, false, 0).job.id;
    CHECK(f.queue->start(id, "/mnt/nas", 1).mount_point == "/mnt/nas");
    f.finish(id, outcome::no_storage, 2, "nothing is mounted");
    CHECK(f.queue->start(id, "/", 3).mount_point == "/mnt/nas");
    f.queue->save_recovery(id, {JobState::running, kRecord});
    f.finish(id, outcome::no_storage, 4, "nothing is mounted");
    CHECK(f.queue->retry(id, 5).mount_point == "/mnt/nas");
    f.queue->start(id, "/mnt/nas", 6);
    auto result = outcome::no_storage.because("nothing is mounted");
    result.cleaned_up = true;
    f.queue->finish(id, result, 7);
    CHECK(f.queue->retry(id, 8).mount_point.empty());
    CHECK(f.queue->start(id, "/", 9).mount_point == "/");
}

TEST_CASE("what a waiting job waits for is told, and that a worker knows when to look again") {
    const std::pair<Outcome, api::WaitReason> table[] = {
        {outcome::retry, api::WaitReason::retry},           {outcome::no_space, api::WaitReason::space},
        {outcome::no_storage, api::WaitReason::storage},    {outcome::locked, api::WaitReason::locked},
        {outcome::too_recent, api::WaitReason::too_recent},
    };
    for (const auto& [ending, reason] : table) {
        Fixture f;
        const auto id = f.add("/a");
        f.queue->start(id, "", 1);
        auto result = ending.because("why");
        result.retry_after_seconds = 7;
        const Job& job = f.queue->finish(id, result, 2).job;
        CHECK(job.waiting_for == reason);
        if (ending != outcome::retry) CHECK(job.retry_at == 9);
    }
}

TEST_CASE("a failed job that is cancelled is off the list of failures, and is counted once") {
    Fixture f;
    const auto id = f.add("/a");
    f.queue->start(id, "", 1);
    f.finish(id, outcome::failed, 2, "bad magic");
    CHECK(f.queue->cancel(id, 3).state == JobState::cancelled);
    CHECK(f.queue->find(id)->reason == "bad magic");
    CHECK(f.queue->totals().failed == 1);
    CHECK(f.queue->totals().cancelled == 0);
    CHECK(f.queue->counts()[JobState::failed] == 0);
}

TEST_CASE("totals outlive the jobs that they count, a crash at any time, and a file that makes no sense") {
    Fixture f;
    for (int i = 0; i < 5; ++i) {
        const auto id = f.add("/" + std::to_string(i));
        f.queue->start(id, "", i);
        f.queue->finish(id, outcome::done.sized(100, 90), i + 1);
        if (i == 2) CHECK(f.queue->prune(100, 0).size() == 2);
        f.restart();
        CHECK(f.queue->totals().done == static_cast<std::uint64_t>(i + 1));
        CHECK(f.queue->totals().bytes_before == static_cast<std::uint64_t>(i + 1) * 100);
        CHECK(f.queue->totals().last_success_at == i + 1);
    }
    f.state.write("totals.json", "{");
    f.restart();
    REQUIRE(f.queue->bad_files().size() == 1);
    CHECK(f.queue->bad_files()[0].name == "totals.json");
    CHECK(f.queue->totals().done == 3);  // those that are still there
}

TEST_CASE("a path has one spelling") {
    CHECK(fault_of_path("/a/../b") == "not free of \"..\"");
    CHECK(fault_of_path("/a/..") == "not free of \"..\"");
    CHECK_FALSE(fault_of_path("/a/..b"));
}

namespace {

api::WorkerResult refused(const std::string& version) {
    auto result = outcome::failed.because("at byte 0: bad magic");
    result.refused_file = version;
    return result;
}

api::WorkerResult no_room() {
    auto result = outcome::no_space.because("write: disk quota exceeded");
    result.space_refusal = {.directory = "/mnt", .free_bytes = 100, .written_bytes = 40};
    return result;
}

}  // namespace

TEST_CASE("law: one verdict for one version of a file, until it or somebody's mind changes") {
    Fixture f;
    const auto id = f.add("/a");
    const auto scan = [&](const std::string& version) {
        return f.queue->enqueue({.path = "/a", .file = version}, false, 9);
    };
    f.queue->start(id, "", 1);
    f.queue->finish(id, refused("v1"), 2);
    for (int round = 0; round < 2; ++round) {
        const auto again = scan("v1");
        CHECK(again.job.id == id);
        CHECK(again.job.state == JobState::failed);
        CHECK_FALSE(again.created);
        CHECK_FALSE(again.moved);
        f.restart();
    }
    SUBCASE("a changed file is queued") { CHECK(scan("v2").created); }
    SUBCASE("so is what somebody names who does not say which version it is") { CHECK(scan("").created); }
    SUBCASE("and what a hook announces") {
        CHECK(f.queue->enqueue({.path = "/a", .file = "v1"}, true, 9).created);
    }
    SUBCASE("a retry asks anew") {
        CHECK(f.queue->retry(id, 10).refused_file.empty());
        f.queue->start(id, "", 11);
        f.finish(id, outcome::failed, 12, "open: permission denied");
        CHECK(scan("v1").created);
    }
    SUBCASE("an acknowledged failure is one all the same") {
        f.queue->cancel(id, 10);
        CHECK_FALSE(scan("v1").created);
        CHECK(scan("v2").created);
    }
}

TEST_CASE("law: every end but a cancel supersedes the earlier failures of its path, durably") {
    for (const auto ending : {outcome::done, outcome::unchanged, outcome::vanished, outcome::failed}) {
        Fixture f;
        const auto other = f.add("/b");
        f.queue->start(other, "", 1);
        f.finish(other, outcome::failed, 2, "bad magic");
        const auto first = f.add("/a");
        f.queue->start(first, "", 3);
        f.queue->finish(first, refused("v1"), 4);
        const auto second = f.add("/a");
        f.queue->start(second, "", 5);
        CHECK(f.queue->find(first)->state == JobState::failed);
        const auto end = f.finish(second, ending, 6, "bad magic");
        REQUIRE(end.superseded.size() == 1);
        CHECK(end.superseded[0] == f.queue->find(first));
        f.restart();
        CHECK(f.queue->find(first)->state == JobState::cancelled);
        CHECK(f.queue->find(first)->reason == fmt::format("superseded by job {}", second));
        CHECK(f.queue->find(other)->state == JobState::failed);
        CHECK(f.queue->counts()[JobState::failed] == (ending == outcome::failed ? 2 : 1));
        // It happened, and is counted as what it was.
        CHECK(f.queue->totals().failed == (ending == outcome::failed ? 3 : 2));
    }
    Fixture f;
    const auto first = f.add("/a");
    f.queue->start(first, "", 3);
    f.queue->finish(first, refused("v1"), 4);
    f.queue->cancel(f.add("/a"), 5);
    CHECK(f.queue->find(first)->state == JobState::failed);
}

TEST_CASE("what a worker found gone beside its archive is no failure any more") {
    Fixture f;
    for (const auto* path : {"/d/a", "/d/b", "/d/e/c", "/da"}) {
        const auto id = f.add(path);
        f.queue->start(id, "", 1);
        f.queue->finish(id, refused("v"), 2);
    }
    CHECK(f.queue->failed_beside("/d/x", 9) == std::vector<std::string>{"/d/a", "/d/b"});
    CHECK(f.queue->failed_beside("/d/a", 9) == std::vector<std::string>{"/d/b"});
    CHECK(f.queue->failed_beside("/d/x", 1).size() == 1);
    const auto id = f.add("/d/x");
    f.queue->start(id, "", 3);
    auto result = outcome::done.because("");
    result.gone = {"/d/b", "/never/queued"};
    CHECK(f.queue->finish(id, result, 4).superseded.size() == 1);
    f.restart();
    CHECK(f.queue->find("/d/b")->state == JobState::cancelled);
    CHECK(f.queue->find("/d/b")->reason == "the archive is gone");
    CHECK(f.queue->failed_beside("/d/x", 9) == std::vector<std::string>{"/d/a"});
}

TEST_CASE("a failure whose recovery a later job has taken over is superseded without it") {
    Fixture f;
    const auto first = f.add("/a");
    f.queue->start(first, "", 1);
    f.queue->save_recovery(first, {JobState::publishing, kRecord});
    f.finish(first, outcome::failed, 2, "read: permission denied");
    const auto second = f.add("/a");
    CHECK(f.queue->find(second)->recovery == kRecord);
    f.queue->start(second, "", 3);
    f.finish(second, outcome::failed, 4, "read: permission denied");
    f.restart();
    const auto third = f.add("/a");
    CHECK(f.queue->find(third)->recovery == kRecord);
}

TEST_CASE("law: what a write was refused is remembered through restarts, waits longer each time, and ends") {
    Fixture f;
    const auto id = f.add("/mnt/a");
    std::int64_t now = 0;
    for (std::uint32_t times = 1; times < 9; ++times) {
        f.queue->start(id, "", now);
        const Job& job = f.queue->finish(id, no_room(), now).job;
        REQUIRE(job.space_refusal);
        CHECK(job.space_refusal->times == times);
        CHECK(job.space_refusal->try_again_at == now + space_refusal_delay(times));
        CHECK(job.space_refusal->free_bytes == 100);
        CHECK(job.retry_at == now + condition_delay(now));  // only to look
        f.restart(now);
        // Looks that find no change, and other obstacles, do not make it forgotten.
        for (const auto ending : {outcome::no_space, outcome::locked, outcome::retry, outcome::stopped}) {
            const auto before = f.queue->find(id)->space_refusal;
            f.queue->start(id, "", ++now);
            CHECK(f.finish(id, ending, now, "busy").job.space_refusal == before);
        }
        now += 24 * 3600;
    }
    SUBCASE("with the job") {
        f.queue->start(id, "", now);
        CHECK_FALSE(f.finish(id, outcome::done, now).job.space_refusal);
    }
    SUBCASE("when somebody asks for another attempt") {
        f.queue->start(id, "", now);
        f.finish(id, outcome::no_space, now);
        CHECK_FALSE(f.queue->retry(id, now).space_refusal);
    }
    SUBCASE("with the file that it was about") {
        f.queue->start(id, "", now);
        f.add("/mnt/a", true);
        CHECK_FALSE(f.queue->finish(id, no_room(), now).job.space_refusal);
    }
}

TEST_CASE("what one job found out about the room in a directory holds for the others there") {
    Fixture f;
    const auto first = f.add("/mnt/a");
    const auto beside = f.add("/mnt/b");
    const auto elsewhere = f.add("/mnt/c/d");
    CHECK(f.queue->space_refusal_for(*f.queue->find(beside)) == nullptr);
    f.queue->start(first, "", 1);
    f.queue->finish(first, no_room(), 2);
    REQUIRE(f.queue->space_refusal_for(*f.queue->find(beside)) != nullptr);
    CHECK(f.queue->space_refusal_for(*f.queue->find(beside))->written_bytes == 40);
    CHECK(f.queue->space_refusal_for(*f.queue->find(elsewhere)) == nullptr);
    f.queue->cancel(first, 3);
    CHECK(f.queue->space_refusal_for(*f.queue->find(beside)) == nullptr);
}

TEST_CASE("to retry an old job is to retry the last one of its archive") {
    for (const auto ending : {outcome::done, outcome::failed, outcome::no_space}) {
        Fixture f;
        const auto first = f.add("/a");
        f.queue->start(first, "", 1);
        f.finish(first, outcome::failed, 2, "bad magic");
        const auto second = f.add("/a");
        f.queue->start(second, "", 3);
        f.finish(second, ending, 4, "why");
        const Job& job = f.queue->retry(first, 5);
        CHECK(job.id == second);
        CHECK(job.state == JobState::queued);
        CHECK(f.queue->find(first)->ended_at == 2);
    }
}
