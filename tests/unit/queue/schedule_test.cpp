#include "queue/schedule.hpp"

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <string>

#include <doctest/doctest.h>

using namespace vmad;
using namespace vmad::queue;
using api::JobState;

namespace {

api::Job job(std::uint64_t id, std::string path, JobState state = JobState::queued) {
    api::Job job;
    job.id = id;
    job.path = std::move(path);
    job.state = state;
    return job;
}

api::Job waiting(std::uint64_t id, std::string path, std::int64_t retry_at) {
    api::Job waiting = job(id, std::move(path), JobState::waiting);
    waiting.retry_at = retry_at;
    return waiting;
}

/// "/a/x" lies on "a".
std::string first_component(const std::string& path) { return path.substr(1, path.find('/', 1) - 1); }

}  // namespace

TEST_CASE("the oldest job comes first, one at a time on a file system") {
    Schedule schedule(first_component, 8);
    CHECK(schedule.next(0) == std::nullopt);
    schedule.update(job(3, "/a/3"));
    schedule.update(job(1, "/a/1"));
    schedule.update(job(2, "/b/2"));
    CHECK(schedule.next(0) == 1);
    CHECK(schedule.next(0) == 1);  // asking is not starting
    schedule.update(job(1, "/a/1", JobState::running));
    CHECK(schedule.next(0) == 2);
    schedule.update(job(2, "/b/2", JobState::running));
    CHECK(schedule.next(0) == std::nullopt);
    schedule.update(job(1, "/a/1", JobState::publishing));
    CHECK(schedule.next(0) == std::nullopt);
    schedule.update(job(1, "/a/1", JobState::done));
    CHECK(schedule.next(0) == 3);
}

TEST_CASE("no more than the workers there are") {
    Schedule schedule(first_component, 2);
    for (std::uint64_t id = 1; id <= 3; ++id) schedule.update(job(id, "/" + std::to_string(id) + "/x"));
    schedule.update(job(1, "/1/x", JobState::running));
    schedule.update(job(2, "/2/x", JobState::running));
    CHECK(schedule.next(0) == std::nullopt);
    schedule.set_workers(3);
    CHECK(schedule.next(0) == 3);
    schedule.set_workers(1);
    CHECK(schedule.next(0) == std::nullopt);
    schedule.update(job(1, "/1/x", JobState::failed));
    CHECK(schedule.next(0) == std::nullopt);
    schedule.update(job(2, "/2/x", JobState::cancelled));
    CHECK(schedule.next(0) == 3);
}

TEST_CASE("a waiting job is ready once its time has come") {
    Schedule schedule(first_component, 1);
    CHECK(schedule.look_again_at() == std::nullopt);
    schedule.update(waiting(1, "/a/1", 100));
    schedule.update(waiting(2, "/b/2", 50));
    schedule.update(job(3, "/c/3", JobState::waiting));  // for nothing that we know of
    CHECK(schedule.look_again_at() == 50);
    CHECK(schedule.next(49) == 3);
    CHECK(schedule.next(50) == 2);
    CHECK(schedule.look_again_at() == 100);
    CHECK(schedule.next(1000) == 1);
    CHECK(schedule.look_again_at() == std::nullopt);
    CHECK(schedule.next(0) == 1);  // a clock that is set back takes nothing back
    schedule.update(waiting(1, "/a/1", 2000));
    schedule.update(waiting(2, "/b/2", 2000));
    CHECK(schedule.look_again_at() == 2000);
    schedule.update(job(1, "/a/1", JobState::cancelled));
    schedule.update(job(2, "/b/2"));
    CHECK(schedule.look_again_at() == std::nullopt);
    CHECK(schedule.next(0) == 2);
}

TEST_CASE("when something is mounted, jobs move and running ones stay") {
    std::string mounted = "local";
    Schedule schedule([&](const std::string& path) { return path.starts_with("/nas") ? mounted : "local"; },
                      8);
    schedule.update(job(1, "/x"));
    schedule.update(job(2, "/nas/2"));
    schedule.update(job(3, "/nas/3"));
    schedule.update(job(1, "/x", JobState::running));
    CHECK(schedule.next(0) == std::nullopt);
    mounted = "nas";
    CHECK(schedule.next(0) == std::nullopt);
    schedule.ask_keys_again();
    CHECK(schedule.next(0) == 2);
    schedule.update(job(2, "/nas/2", JobState::running));
    mounted = "local";
    schedule.ask_keys_again();
    schedule.update(job(1, "/x", JobState::done));
    CHECK(schedule.next(0) == 3);  // job 2 still holds the share, not "local"
    schedule.update(waiting(2, "/nas/2", 10));
    CHECK(schedule.next(10) == 2);
    schedule.update(job(3, "/nas/3", JobState::running));
    CHECK(schedule.next(10) == std::nullopt);  // it has lost the share
}

TEST_CASE("law: on any history no rule is broken and every ready job is picked in the end") {
    for (unsigned seed = 0; seed < 200; ++seed) {
        CAPTURE(seed);
        std::mt19937 random(seed);
        const auto below = [&](unsigned n) { return static_cast<unsigned>(random() % n); };
        const unsigned workers = 1 + below(4);
        std::map<std::uint64_t, api::Job> jobs;
        Schedule schedule(first_component, workers);
        std::int64_t now = 0;
        std::uint64_t last_id = 0;
        const auto put = [&](api::Job changed) {
            schedule.update(changed);
            jobs[changed.id] = std::move(changed);
        };
        const auto ready = [&](const api::Job& one) {
            return one.state == JobState::queued || (one.state == JobState::waiting && *one.retry_at <= now);
        };
        const auto busy_systems = [&] {
            std::multiset<std::string> busy;
            for (const auto& [id, one] : jobs)
                if (one.state == JobState::running) busy.insert(first_component(one.path));
            return busy;
        };
        const auto pick_and_check = [&] {
            // What the header promises, looked up the slow way.
            const auto busy = busy_systems();
            std::optional<std::uint64_t> expected;
            for (const auto& [id, one] : jobs)
                if (!expected && ready(one) && !busy.contains(first_component(one.path))) expected = id;
            if (busy.size() >= workers) expected.reset();
            const auto picked = schedule.next(now);
            REQUIRE(picked == expected);
            return picked;
        };
        const auto finish_one = [&](bool for_good) {
            for (auto& [id, one] : jobs) {
                if (one.state != JobState::running || below(2)) continue;
                api::Job changed = one;
                changed.state = for_good || below(2) ? JobState::done : JobState::waiting;
                if (changed.state == JobState::waiting) changed.retry_at = now + below(50);
                return put(changed);
            }
        };
        for (int step = 0; step < 300; ++step) {
            now += below(10);
            if (below(3) == 0)
                put(job(++last_id, "/" + std::string(1, static_cast<char>('a' + below(5))) + "/x"));
            if (below(3) == 0) finish_one(false);
            if (const auto picked = pick_and_check()) {
                api::Job changed = jobs[*picked];
                changed.state = JobState::running;
                changed.retry_at.reset();
                put(changed);
            }
        }
        // Nothing new: the queue drains.
        const auto is_left = [](const auto& entry) { return !api::is_final(entry.second.state); };
        for (int round = 0; round < 5000 && std::any_of(jobs.begin(), jobs.end(), is_left); ++round) {
            now += 10;
            finish_one(true);
            if (const auto picked = pick_and_check()) {
                api::Job changed = jobs[*picked];
                changed.state = JobState::running;
                put(changed);
            }
        }
        CHECK(std::none_of(jobs.begin(), jobs.end(), is_left));
        CHECK(schedule.look_again_at() == std::nullopt);
    }
}

TEST_CASE("the key is asked for once a change, not once a pick") {
    std::size_t asked = 0;
    Schedule schedule(
        [&](const std::string& path) {
            ++asked;
            return first_component(path);
        },
        4);
    constexpr std::uint64_t kCount = 10000;
    for (std::uint64_t id = 1; id <= kCount; ++id)
        schedule.update(job(id, "/" + std::to_string(id % 7) + "/x"));
    std::uint64_t drained = 0;
    while (const auto picked = schedule.next(0)) {
        CHECK(*picked == ++drained);
        schedule.update(job(*picked, "/" + std::to_string(*picked % 7) + "/x", JobState::running));
        schedule.update(job(*picked, "/" + std::to_string(*picked % 7) + "/x", JobState::done));
    }
    CHECK(drained == kCount);
    CHECK(asked <= 2 * kCount);
}

TEST_CASE("while no job is to start on its own, awaited ones still may, the oldest first") {
    using enum Schedule::Choice;
    Schedule schedule(first_component, 8);
    for (std::uint64_t id = 1; id <= 4; ++id) schedule.update(job(id, "/a/" + std::to_string(id)));
    schedule.set_awaited(9, true);  // not known here
    CHECK(schedule.next(0, awaited) == std::nullopt);
    schedule.set_awaited(3, true);
    schedule.set_awaited(4, true);
    CHECK(schedule.next(0) == 1);
    CHECK(schedule.next(0, awaited) == 3);
    // It stays awaited on its way.
    schedule.update(waiting(3, "/a/3", 100));
    CHECK(schedule.next(0, awaited) == 4);
    CHECK(schedule.next(100, awaited) == 3);
    schedule.update(job(2, "/a/2", JobState::running));
    CHECK(schedule.next(100, awaited) == std::nullopt);
    schedule.update(job(2, "/a/2", JobState::done));
    schedule.set_awaited(3, false);
    CHECK(schedule.next(100, awaited) == 4);
    schedule.ask_keys_again();
    CHECK(schedule.next(100, awaited) == 4);
    schedule.update(job(4, "/a/4", JobState::cancelled));
    CHECK(schedule.next(100, awaited) == std::nullopt);
    CHECK(schedule.next(100, any) == 1);
}

TEST_CASE("a waiting job can be woken") {
    Schedule schedule(first_component, 8);
    schedule.update(waiting(1, "/a/1", 100));
    schedule.wake(2);
    CHECK(schedule.next(0) == std::nullopt);
    schedule.wake(1);
    CHECK(schedule.look_again_at() == std::nullopt);
    CHECK(schedule.next(0) == 1);
}

TEST_CASE("a stalled job takes no worker, but still its file system") {
    Schedule schedule(first_component, 1);
    schedule.update(job(1, "/a/1", JobState::running));
    schedule.update(job(2, "/a/2"));
    schedule.update(job(3, "/b/3"));
    CHECK(schedule.next(0) == std::nullopt);
    schedule.set_stalled(3, true);  // it does not run
    schedule.set_stalled(9, true);  // not known here
    CHECK(schedule.next(0) == std::nullopt);
    schedule.set_stalled(1, true);
    CHECK(schedule.next(0) == 3);
    schedule.update(job(1, "/a/1", JobState::publishing));
    CHECK(schedule.next(0) == 3);
    schedule.update(job(3, "/b/3", JobState::running));
    CHECK(schedule.next(0) == std::nullopt);
    // Both get on: one more than there are workers, until one of them ends.
    schedule.set_stalled(1, false);
    schedule.update(job(3, "/b/3", JobState::done));
    CHECK(schedule.next(0) == std::nullopt);
    schedule.set_stalled(1, true);
    schedule.update(job(1, "/a/1", JobState::queued));
    CHECK(schedule.next(0) == 1);
    schedule.update(job(1, "/a/1", JobState::running));
    CHECK(schedule.next(0) == std::nullopt);
}
