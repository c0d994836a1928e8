// A repack and a verify job of one archive: what they have to do with each other, and what not.
#include <algorithm>
#include <array>
#include <map>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include "queue/transition.hpp"
#include "state_directory.hpp"

using namespace vmad;
using namespace vmad::queue;
using namespace vmad::queue::test;
using api::Job;
using api::JobKind;
using api::JobState;
using support::Outcome;
namespace outcome = support::outcome;

namespace {

constexpr std::array kKinds{JobKind::repack, JobKind::verify};

std::uint64_t add(Fixture& f, const std::string& path, JobKind kind) {
    return f.queue->enqueue({.path = path, .mount_point = "/mnt", .kind = kind}, false, 1).job.id;
}

std::uint64_t run(Fixture& f, const std::string& path, JobKind kind, Outcome ending) {
    const auto id = add(f, path, kind);
    f.queue->start(id, "", 2);
    f.finish(id, ending, 3, "why");
    return id;
}

/// One step of a history: the `number` chooses what is done with the job of the kind and path.
struct Step {
    JobKind kind;
    std::string path;
    unsigned number;
    std::size_t ending;
    std::int64_t now;
};

std::vector<Step> random_history(std::mt19937& random) {
    std::vector<Step> history;
    std::int64_t now = 1000;
    for (int i = 0; i < 200; ++i) {
        now += static_cast<std::int64_t>(random() % 100);
        history.push_back({random() % 2 == 0 ? JobKind::repack : JobKind::verify,
                           "/" + std::to_string(random() % 3), static_cast<unsigned>(random() % 9),
                           random() % outcome::all.size(), now});
    }
    return history;
}

void take(Fixture& f, const Step& step) {
    const Job* job = f.queue->find(step.path, step.kind);
    const bool runs = job && is_running(*job);
    const bool startable = job && (job->state == JobState::queued || job->state == JobState::waiting);
    auto ending = outcome::all[step.ending];
    // That an archive is gone says something about every job of it.
    if (step.kind == JobKind::verify && ending == outcome::vanished) ending = outcome::done;
    if (step.number < 2)
        f.queue->enqueue({.path = step.path, .mount_point = "/mnt", .kind = step.kind}, false, step.now);
    else if (step.number < 5 && startable)
        f.queue->start(job->id, "", step.now);
    else if (step.number == 5 && runs && step.kind == JobKind::repack)
        f.queue->save_recovery(job->id, {JobState::publishing, fmt::format("{{\"at\":{}}}", step.now)});
    else if (step.number == 6 && runs)
        f.finish(job->id, ending, step.now, "why");
    else if (step.number == 7 && runs)
        f.queue->worker_died(job->id, "signal 9", step.now);
    else if (step.number == 8 && job)
        f.queue->cancel(job->id, step.now);
}

/// The repacks in the order of their ids, without what numbers them among all jobs.
std::vector<Job> repacks_of(const Queue& queue) {
    std::vector<Job> repacks;
    for (const auto& [id, job] : queue.jobs()) {
        if (job.kind != JobKind::repack) continue;
        repacks.push_back(job);
        repacks.back().id = 1;
        repacks.back().end_number.reset();
        if (job.reason.starts_with("superseded")) repacks.back().reason = "superseded";
    }
    return repacks;
}

}  // namespace

TEST_CASE("law: whatever happens to verify jobs, repacks and their recovery go the same way") {
    for (unsigned seed = 0; seed < 40; ++seed) {
        CAPTURE(seed);
        std::mt19937 random(seed);
        const auto history = random_history(random);
        Fixture with;
        Fixture without;
        for (const auto& step : history) {
            take(with, step);
            if (step.kind == JobKind::repack) take(without, step);
            REQUIRE(repacks_of(*with.queue) == repacks_of(*without.queue));
        }
        with.restart(100'000);
        without.restart(100'000);
        REQUIRE(repacks_of(*with.queue) == repacks_of(*without.queue));
        // What a failed repack left is still there for the next one.
        for (const auto* path : {"/0", "/1", "/2"}) {
            add(with, path, JobKind::verify);
            add(with, path, JobKind::repack);
            add(without, path, JobKind::repack);
        }
        CHECK(repacks_of(*with.queue) == repacks_of(*without.queue));
        CHECK(with.queue->prune(1'000'000, 0).size() >= without.queue->prune(1'000'000, 0).size());
        with.restart(200'000);
        without.restart(200'000);
        for (const auto* path : {"/0", "/1", "/2"})
            CHECK(with.queue->find(path, JobKind::repack)->recovery ==
                  without.queue->find(path, JobKind::repack)->recovery);
    }
}

TEST_CASE("law: which end supersedes which failure") {
    const auto supersedes = [](JobKind kind, Outcome ending, JobKind failed) {
        if (ending == outcome::vanished) return true;
        if (kind == failed) return true;
        return kind == JobKind::repack && ending == outcome::done;
    };
    for (const auto failed_kind : kKinds)
        for (const auto kind : kKinds)
            for (const auto ending :
                 {outcome::done, outcome::unchanged, outcome::vanished, outcome::failed}) {
                CAPTURE(std::string(to_string(failed_kind)));
                CAPTURE(std::string(to_string(kind)));
                CAPTURE(std::string(to_string(ending.state)));
                Fixture f;
                const auto other = run(f, "/b", failed_kind, outcome::failed);
                const auto failed = run(f, "/a", failed_kind, outcome::failed);
                const auto later = run(f, "/a", kind, ending);
                f.restart();
                const bool still = f.queue->find(failed)->state == JobState::failed;
                CHECK(still != supersedes(kind, ending, failed_kind));
                if (!still)
                    CHECK(f.queue->find(failed)->reason == fmt::format("superseded by job {}", later));
                CHECK(f.queue->find(other)->state == JobState::failed);
            }
}

TEST_CASE("a path means its unfinished repack, then its unfinished verify job, then the last of all") {
    Fixture f;
    const auto repack = add(f, "/a", JobKind::repack);
    const auto verify = add(f, "/a", JobKind::verify);
    CHECK(f.queue->find("/a")->id == repack);
    CHECK(f.queue->find("/a", JobKind::verify)->id == verify);
    CHECK_FALSE(f.queue->find("/b"));
    f.queue->cancel(repack, 5);
    CHECK(f.queue->find("/a")->id == verify);
    CHECK(f.queue->find("/a", JobKind::repack)->id == repack);
    f.queue->cancel(verify, 5);
    CHECK(f.queue->find("/a")->id == verify);
    CHECK(f.queue->retry(repack, 6).id == repack);
    CHECK(f.queue->find("/a")->id == repack);
}

TEST_CASE("the verdict on a version of a file is that of one kind of job") {
    Fixture f;
    const auto id = add(f, "/a", JobKind::repack);
    f.queue->start(id, "", 2);
    auto refused = outcome::failed.because("not VMA");
    refused.refused_file = "v1";
    f.queue->finish(id, refused, 3);
    const auto enqueue = [&](JobKind kind) {
        return f.queue->enqueue({.path = "/a", .file = "v1", .kind = kind}, false, 4).created;
    };
    CHECK_FALSE(enqueue(JobKind::repack));
    CHECK(enqueue(JobKind::verify));
}

TEST_CASE("a verify job has no recovery record") {
    Fixture f;
    const auto id = add(f, "/a", JobKind::verify);
    f.queue->start(id, "", 2);
    CHECK_THROWS_WITH_AS(f.queue->save_recovery(id, {JobState::running, kRecord}),
                         "job 1 replaces nothing, it has no recovery record", base::Error);
    CHECK(f.queue->find(id)->recovery.empty());
}

TEST_CASE("what a verify job found stays with it, and a retry forgets it") {
    Fixture f;
    const auto id = add(f, "/a", JobKind::verify);
    f.queue->start(id, "", 2);
    auto result = outcome::failed.because("damaged");
    result.damaged = true;
    result.damage = {{"drive-scsi0", 65536, 65536, "1 (ext4)"}};
    result.record = api::ArchiveRecord{.path = "/a", .verified_at = 1};
    f.queue->finish(id, result, 3);
    f.restart();
    CHECK(f.queue->find(id)->damage == result.damage);
    CHECK(f.queue->find(id)->last_good_at == 1);
    CHECK(f.queue->totals().verify.damaged == 1);
    CHECK(f.queue->totals().failed == 0);
    const Job& again = f.queue->retry(id, 5);
    CHECK(again.damage.empty());
    CHECK_FALSE(again.last_good_at);
}

TEST_CASE("as many ends are kept of each kind") {
    Fixture f;
    const auto repack = run(f, "/r", JobKind::repack, outcome::done);
    for (int i = 0; i < 5; ++i) run(f, "/v" + std::to_string(i), JobKind::verify, outcome::done);
    CHECK(f.queue->ended_count() == 5);
    CHECK(f.queue->prune(0, 2).size() == 3);
    CHECK(f.queue->find(repack));
    CHECK(f.queue->recently_ended(9).size() == 3);
    CHECK(f.queue->recently_ended(2).size() == 2);
}
