// Fails every operation on the spool, one at a time, in the middle of each kind of change.
#include <filesystem>
#include <functional>
#include <map>
#include <set>
#include <vector>

#include <doctest/doctest.h>

#include "queue/queue.hpp"
#include "state_directory.hpp"
#include "support/run_outcome.hpp"

using namespace vmad;
using namespace vmad::queue;
using namespace vmad::queue::test;
using api::Job;
using api::JobState;
namespace outcome = support::outcome;
using support::FaultFileSystem;

namespace {

using Jobs = std::map<std::uint64_t, Job>;

/// One change after another, so that every kind is there, on new files and on old ones.
const std::vector<std::function<void(Queue&)>>& changes() {
    static const std::vector<std::function<void(Queue&)>> list = {
        [](Queue& q) {
            q.enqueue({"/a", "/mnt"}, true, 1);
        },
        [](Queue& q) {
            q.enqueue({"/b", "/mnt"}, false, 2);
        },
        [](Queue& q) {
            q.enqueue({"/b", "/"}, true, 3);
        },
        [](Queue& q) { q.start(1, "", 4); },
        [](Queue& q) {
            q.enqueue({"/a", "/mnt"}, true, 5);
        },
        [](Queue& q) {
            q.save_recovery(1, {JobState::publishing, R"({"temporary":"x"})"});
        },
        // Ends a job and makes the next for its path.
        [](Queue& q) { q.finish(1, outcome::done.sized(2, 1), 6); },
        [](Queue& q) { q.start(2, "", 7); },
        [](Queue& q) { q.worker_died(2, "signal 9", 8); },
        [](Queue& q) { q.start(2, "", 9); },
        [](Queue& q) { q.finish(2, outcome::no_space.because("no space"), 10); },
        [](Queue& q) { q.cancel(2, 11); },
        [](Queue& q) { q.retry(2, 12); },
        [](Queue& q) { q.start(3, "", 13); },
        [](Queue& q) {
            q.enqueue({"/a", "/mnt"}, false, 14);
        },
        [](Queue& q) {
            q.cancel(3, 15);
            q.finish(3, outcome::stopped.because(""), 15);
        },
        [](Queue& q) { q.prune(0, 1); },
    };
    return list;
}

/// The files as they are: not what a Queue makes of running jobs.
Jobs on_disk(const StateDirectory& state) {
    const StateDirectory copy;
    std::filesystem::copy((state / "queue"), (copy / "queue"));
    FaultFileSystem fs;
    Jobs jobs;
    for (const Job& job : Spool(fs, copy.path()).load().jobs) jobs[job.id] = job;
    return jobs;
}

void check_nothing_left_behind(const StateDirectory& state) {
    for (const auto& name : names_in(state / "queue")) CHECK(name.ends_with(".json"));
}

}  // namespace

TEST_CASE(
    "law: whichever operation fails, the change has not happened, in memory or on disk, and can be "
    "repeated") {
    Jobs final_jobs;
    for (unsigned n = 0;; ++n) {
        CAPTURE(n);
        const StateDirectory state;
        FaultFileSystem fs;
        Spool spool(fs, state.path());
        Queue queue(spool, 0);
        fail_call(fs, n);
        bool failed = false;
        for (std::size_t i = 0; i < changes().size(); ++i) {
            CAPTURE(i);
            const Jobs before = queue.jobs();
            try {
                changes()[i](queue);
            } catch (const base::SystemError& error) {
                CHECK(error.number() == EIO);
                REQUIRE_FALSE(failed);
                failed = true;
                CHECK(queue.jobs() == before);
                REQUIRE(on_disk(state) == queue.jobs());
                check_nothing_left_behind(state);
                changes()[i](queue);
            }
            REQUIRE(on_disk(state) == queue.jobs());
        }
        check_nothing_left_behind(state);
        if (n == 0) {
            final_jobs = queue.jobs();
            CHECK(final_jobs.size() == 3);
            continue;
        }
        CHECK(queue.jobs() == final_jobs);
        if (!failed) {
            CHECK(n > 100);
            break;
        }
    }
}

TEST_CASE("law: whichever operation fails at the start, the next start finds every job") {
    for (unsigned n = 1;; ++n) {
        CAPTURE(n);
        const StateDirectory state;
        Jobs expected;
        {
            FaultFileSystem fs;
            Spool spool(fs, state.path());
            Queue queue(spool, 0);
            queue.enqueue({"/a", "/mnt"}, false, 1);
            queue.enqueue({"/b", "/mnt"}, false, 1);
            queue.start(1, "", 2);
            queue.enqueue({"/a", "/mnt"}, true, 3);
            queue.finish(1, outcome::done.because(""), 50);
            expected = queue.jobs();
        }
        // The start has to make the third job anew, remove one file and set another aside.
        std::filesystem::remove((state / "queue/3.json"));
        state.write("queue/.0123456789abcdef.tmp", "half");
        state.write("queue/2.json~", "what is this");
        FaultFileSystem fs;
        fail_call(fs, n);
        bool failed = false;
        for (int round = 0; round < 2; ++round) {
            try {
                Spool spool(fs, state.path());
                const Queue queue(spool, 50);
                CHECK(queue.jobs() == expected);
                CHECK(on_disk(state) == expected);
                CHECK(names_in(state / "queue") ==
                      std::set<std::string>{"1.json", "2.json", "2.json~.bad", "3.json"});
                break;
            } catch (const base::SystemError&) {
                REQUIRE(round == 0);
                failed = true;
            }
        }
        if (!failed) {
            CHECK(n > 20);
            break;
        }
    }
}
