#include "queue/schedule.hpp"

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <string>

#include <doctest/doctest.h>

using namespace vmad;
using namespace vmad::queue;
using api::JobKind;
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

namespace {

api::Job verify(std::uint64_t id, std::string path, JobState state = JobState::queued) {
    api::Job one = job(id, std::move(path), state);
    one.kind = JobKind::verify;
    return one;
}

using Halted = std::map<std::uint64_t, bool>;

/// A queue with jobs of both kinds, run against what the header promises, looked up the slow way.
class Model {
  public:
    explicit Model(unsigned seed)
        : random_(seed), workers_(1 + below(3)), schedule_(first_component, workers_) {}

    unsigned below(unsigned n) { return static_cast<unsigned>(random_() % n); }
    void add() {
        const auto path = "/" + std::string(1, static_cast<char>('a' + below(4))) + "/x";
        put(below(2) != 0 ? verify(++last_id_, path) : job(++last_id_, path));
    }
    /// Halted jobs do not end by themselves.
    void finish_one() {
        const auto halted = schedule_.halted();
        for (auto [id, one] : jobs_) {
            if (one.state != JobState::running || below(2) != 0) continue;
            if (one.kind == JobKind::verify && halted.at(id)) continue;
            one.state = JobState::done;
            stalled_.erase(id);
            return put(one);
        }
    }
    void stall_one() {
        const auto halted = schedule_.halted();
        for (const auto& [id, one] : jobs_) {
            if (one.state != JobState::running || below(2) != 0) continue;
            if (one.kind == JobKind::verify && halted.at(id)) continue;
            const bool stalls = !stalled_.erase(id);
            if (stalls) stalled_.insert(id);
            return schedule_.set_stalled(id, stalls);
        }
    }
    void check_and_start(Schedule::Choice repacks, Schedule::Choice verifies) {
        check_halted();
        const auto picked = schedule_.next(0, repacks, verifies);
        REQUIRE(picked == expected(repacks, verifies));
        if (!picked) return;
        api::Job one = jobs_.at(*picked);
        one.state = JobState::running;
        put(one);
        check_halted();
    }
    [[nodiscard]] bool is_drained() const {
        return std::all_of(jobs_.begin(), jobs_.end(),
                           [](const auto& entry) { return api::is_final(entry.second.state); });
    }

  private:
    void put(api::Job changed) {
        schedule_.update(changed);
        jobs_[changed.id] = std::move(changed);
    }
    [[nodiscard]] unsigned running(JobKind kind, const std::string& system) const {
        return static_cast<unsigned>(std::count_if(jobs_.begin(), jobs_.end(), [&](const auto& entry) {
            const auto& one = entry.second;
            return one.state == JobState::running && one.kind == kind && first_component(one.path) == system;
        }));
    }
    [[nodiscard]] unsigned taken_by_repacks() const {
        return static_cast<unsigned>(std::count_if(jobs_.begin(), jobs_.end(), [&](const auto& entry) {
            const auto& [id, one] = entry;
            return one.state == JobState::running && one.kind == JobKind::repack && !stalled_.contains(id);
        }));
    }
    void check_halted() const {
        const auto halted = schedule_.halted();
        unsigned going = 0;
        unsigned without_worker = 0;
        for (const auto& [id, one] : jobs_) {
            const bool is_there = one.state == JobState::running && one.kind == JobKind::verify;
            REQUIRE(halted.contains(id) == is_there);
            if (!is_there) continue;
            const bool disturbs = running(JobKind::repack, first_component(one.path)) > 0;
            if (disturbs) REQUIRE(halted.at(id));
            if (!halted.at(id) && !stalled_.contains(id)) ++going;
            if (halted.at(id) && !disturbs) ++without_worker;
        }
        REQUIRE((going == 0 || taken_by_repacks() + going <= workers_));
        // None without need.
        REQUIRE((without_worker == 0 || taken_by_repacks() + going >= workers_));
    }
    [[nodiscard]] std::optional<std::uint64_t> expected(Schedule::Choice repacks,
                                                        Schedule::Choice verifies) const {
        if (repacks != Schedule::Choice::none && taken_by_repacks() < workers_)
            for (const auto& [id, one] : jobs_)
                if (one.kind == JobKind::repack && one.state == JobState::queued &&
                    running(JobKind::repack, first_component(one.path)) == 0)
                    return id;
        const auto halted = schedule_.halted();
        unsigned taken = taken_by_repacks();
        for (const auto& [id, is_halted] : halted)
            if (!is_halted && !stalled_.contains(id)) ++taken;
        if (verifies == Schedule::Choice::none || taken >= workers_) return std::nullopt;
        for (const auto& [id, one] : jobs_)
            if (one.kind == JobKind::verify && one.state == JobState::queued &&
                running(JobKind::repack, first_component(one.path)) +
                        running(JobKind::verify, first_component(one.path)) ==
                    0)
                return id;
        return std::nullopt;
    }

    std::mt19937 random_;
    unsigned workers_;
    Schedule schedule_;
    std::map<std::uint64_t, api::Job> jobs_;
    std::set<std::uint64_t> stalled_;
    std::uint64_t last_id_ = 0;
};

}  // namespace

TEST_CASE("law: with verify jobs among them no rule is broken, no repack waits for one, and all end") {
    using enum Schedule::Choice;
    for (unsigned seed = 0; seed < 50; ++seed) {
        CAPTURE(seed);
        Model model(seed);
        for (int step = 0; step < 300; ++step) {
            if (model.below(3) == 0) model.add();
            if (model.below(3) == 0) model.finish_one();
            if (model.below(10) == 0) model.stall_one();
            model.check_and_start(model.below(4) == 0 ? none : any, model.below(4) == 0 ? none : any);
        }
        for (int round = 0; round < 5000 && !model.is_drained(); ++round) {
            model.finish_one();
            model.check_and_start(any, any);
        }
        CHECK(model.is_drained());
    }
}

TEST_CASE("a verify job stands still while a repack runs on its file system, or needs its worker") {
    Schedule schedule(first_component, 1);
    schedule.update(verify(1, "/a/1"));
    schedule.update(job(2, "/b/2"));
    CHECK(schedule.next(0) == 2);  // however old the verify job is
    schedule.update(job(2, "/b/2", JobState::done));
    CHECK(schedule.next(0) == 1);
    schedule.update(verify(1, "/a/1", JobState::running));
    CHECK(schedule.halted() == Halted{{1, false}});
    schedule.update(verify(3, "/c/3"));
    CHECK(schedule.next(0) == std::nullopt);
    // On its file system.
    schedule.update(job(4, "/a/4"));
    CHECK(schedule.next(0) == 4);
    CHECK(schedule.halted() == Halted{{1, false}});
    schedule.update(job(4, "/a/4", JobState::running));
    CHECK(schedule.halted() == Halted{{1, true}});
    CHECK(schedule.next(0) == std::nullopt);
    schedule.update(job(4, "/a/4", JobState::publishing));
    CHECK(schedule.halted() == Halted{{1, true}});
    schedule.update(job(4, "/a/4", JobState::failed));
    CHECK(schedule.halted() == Halted{{1, false}});
    // Elsewhere, but there is one worker; with two, both go on.
    schedule.update(job(5, "/b/5"));
    CHECK(schedule.next(0) == 5);
    schedule.update(job(5, "/b/5", JobState::running));
    CHECK(schedule.halted() == Halted{{1, true}});
    schedule.set_workers(2);
    CHECK(schedule.halted() == Halted{{1, false}});
    // A repack that hangs in its share takes no worker, but keeps its file system to itself.
    schedule.set_workers(1);
    schedule.set_stalled(5, true);
    CHECK(schedule.halted() == Halted{{1, false}});
    schedule.update(verify(1, "/a/1", JobState::done));
    CHECK(schedule.halted().empty());
    CHECK(schedule.next(0) == 3);
}

TEST_CASE("each kind has its own hold") {
    using enum Schedule::Choice;
    Schedule schedule(first_component, 8);
    schedule.update(job(1, "/a/1"));
    schedule.update(verify(2, "/b/2"));
    schedule.update(verify(3, "/a/3"));
    CHECK(schedule.next(0, none, none) == std::nullopt);
    CHECK(schedule.next(0, any, none) == 1);
    CHECK(schedule.next(0, awaited, any) == 2);
    schedule.set_awaited(3, true);
    CHECK(schedule.next(0, none, awaited) == 3);
    CHECK(schedule.next(0, any, awaited) == 1);
}
