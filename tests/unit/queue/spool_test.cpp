#include "queue/spool.hpp"

#include <sys/stat.h>

#include <chrono>
#include <map>
#include <memory>
#include <set>
#include <thread>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "state_directory.hpp"

using namespace vmad;
using namespace vmad::queue;
using namespace vmad::queue::test;
using support::FaultFileSystem;

namespace {

api::Job job(std::uint64_t id) {
    api::Job job;
    job.id = id;
    job.path = "/mnt/dump/" + std::to_string(id) + ".vma";
    job.queued_at = 1000;
    return job;
}

unsigned mode_of(const std::string& path) {
    struct stat status {};
    REQUIRE(::stat(path.c_str(), &status) == 0);
    return status.st_mode & 07777;
}

}  // namespace

TEST_CASE("what is missing of the state directory is made, for root only") {
    const StateDirectory parent;
    const std::string state = (parent / "vmad");
    io::FileSystem fs;
    Spool spool(fs, state);
    CHECK(names_in(parent / "vmad") == std::set<std::string>{"archives", "incoming", "lock", "queue"});
    CHECK(mode_of(state) == 0700);
    CHECK(mode_of(state + "/queue") == 0700);
    CHECK(mode_of(state + "/archives") == 0700);
    CHECK(mode_of(state + "/incoming") == 0700);
    CHECK(mode_of(state + "/lock") == 0600);
    spool.save(job(1));
    CHECK(mode_of(state + "/queue/1.json") == 0600);
    CHECK(spool.incoming_directory().path() == state + "/incoming");
}

TEST_CASE("one daemon per state directory") {
    const StateDirectory state;
    io::FileSystem fs;
    {
        const Spool spool(fs, state.path());
        CHECK_THROWS_WITH_AS(Spool(fs, state.path()), ("another vmad is using " + state.path()).c_str(),
                             base::Error);
    }
    const Spool again(fs, state.path());
}

TEST_CASE("the lock of a daemon that is about to end is waited for") {
    const StateDirectory state;
    io::FileSystem fs;
    auto first = std::make_unique<Spool>(fs, state.path());
    std::thread end([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
        first.reset();
    });
    CHECK_NOTHROW(Spool(fs, state.path()));
    end.join();
}

TEST_CASE("jobs come back as they were saved, by id, without progress") {
    const StateDirectory state;
    FaultFileSystem fs;
    Spool spool(fs, state.path());
    for (const std::uint64_t id : {10, 9, 100, 1}) spool.save(job(id));
    api::Job full = job(9);
    full.path = "/mnt/bäckup/\"\\\n.vma";
    full.state = api::JobState::waiting;
    full.reason = "no space";
    full.announced = true;
    full.started_at = 1;
    full.ended_at = 2;
    full.retry_at = 3;
    full.attempts = 2;
    full.failed_attempts = 7;
    full.run_again = true;
    full.size_before = INT64_MAX;
    full.size_after = 0;
    full.mount_point = "/mnt";
    full.recovery = R"({"inode":17,"temporary":".vmad-x.tmp"})";
    spool.save(full);
    api::Job with_progress = full;
    with_progress.progress = api::JobProgress{"repacking", 1, 2, 3, 4};
    spool.save(with_progress);

    const auto contents = spool.load();
    CHECK(contents.bad.empty());
    CHECK(contents.last_id == 100);
    CHECK(contents.jobs == std::vector<api::Job>{job(1), full, job(10), job(100)});

    spool.remove(9);
    CHECK(spool.load().jobs.size() == 3);
    CHECK(names_in(state / "queue") == std::set<std::string>{"1.json", "10.json", "100.json"});
}

TEST_CASE("a reason that is not UTF-8 does not keep a job from being saved") {
    const StateDirectory state;
    FaultFileSystem fs;
    Spool spool(fs, state.path());
    api::Job odd = job(1);
    odd.reason = "read /\xe4: I/O error";
    spool.save(odd);
    CHECK(spool.load().jobs.at(0).reason == "read /\xef\xbf\xbd: I/O error");
}

TEST_CASE("a file that is not a job is set aside and reported, never deleted") {
    const StateDirectory state;
    FaultFileSystem fs;
    Spool spool(fs, state.path());
    spool.save(job(5));
    const std::string good = state.read("queue/5.json");
    const std::string no_name = "not the name of a job file";
    const std::map<std::string, std::pair<std::string, std::string>> table = {
        // name: content, reason ("": whatever the reader says)
        {"6.json", {"", ""}},
        {"7.json", {good.substr(0, good.size() / 2), ""}},
        {"8.json", {"[]", ""}},
        {"9.json", {"{\"id\": 9}", ""}},
        {"10.json", {good, "it says that its id is 5"}},
        {"11.json", {std::string(100, '['), ""}},
        {"12.json",
         {std::string((1 << 20) + 1, ' '), (state / "queue/12.json") + " is larger than 1048576 bytes"}},
        {"13.json", {"{\"id\": \"13\"}", ""}},
        {"14.json", {std::string("\0\0\0\0", 4), ""}},
        {"05.json", {good, no_name}},
        {"0.json", {good, no_name}},
        {"-1.json", {good, no_name}},
        {"5.json~", {good, no_name}},
        {"5.JSON", {good, no_name}},
        {"18446744073709551616.json", {good, no_name}},
        {"9007199254740992.json", {good, no_name}},
        {"README", {"", no_name}},
        {".hidden", {"", no_name}},
    };
    for (const auto& [name, row] : table) state.write("queue/" + name, row.first);

    const auto contents = spool.load();
    CHECK(contents.jobs == std::vector<api::Job>{job(5)});
    CHECK(contents.last_id == 14);
    CHECK(contents.bad.size() == table.size());
    for (const auto& bad : contents.bad) {
        CAPTURE(bad.name);
        REQUIRE(table.contains(bad.name));
        const auto& [content, reason] = table.at(bad.name);
        CHECK(!bad.reason.empty());
        if (!reason.empty()) CHECK(bad.reason == reason);
        CHECK(state.read("queue/" + bad.name + ".bad") == content);
    }

    // Reported once, and the ids of what was set aside stay used.
    const auto again = spool.load();
    CHECK(again.bad.empty());
    CHECK(again.jobs.size() == 1);
    CHECK(again.last_id == 14);
}

TEST_CASE("a job that nests deeper than any is set aside, and takes no stack") {
    const StateDirectory state;
    FaultFileSystem fs;
    Spool spool(fs, state.path());
    spool.save(job(5));
    const auto good = state.read("queue/5.json");
    const std::string half = good.substr(0, good.rfind('}')) + ", \"recovery\": {\"a\": ";
    constexpr std::size_t kDeep = 500'000;
    state.write("queue/6.json", half + std::string(kDeep, '[') + std::string(kDeep, ']') + "}}");
    const auto contents = spool.load();
    CHECK(contents.jobs == std::vector<api::Job>{job(5)});
    CHECK(contents.bad == std::vector<BadFile>{{"6.json", "it nests deeper than 32 levels"}});
}

TEST_CASE("what an interrupted write left is removed, and nothing else") {
    const StateDirectory state;
    FaultFileSystem fs;
    Spool spool(fs, state.path());
    spool.save(job(1));
    state.write("queue/.vmad-0123456789abcdef.tmp", "half a jo");
    state.write("queue/.vmad-fedcba9876543210.tmp", "");
    const auto contents = spool.load();
    CHECK(contents.bad.empty());
    CHECK(contents.jobs.size() == 1);
    CHECK(names_in(state / "queue") == std::set<std::string>{"1.json"});
}

TEST_CASE("ten thousand jobs are loaded with a fixed number of operations each") {
    const StateDirectory state;
    constexpr std::uint64_t kCount = 10000;
    {
        FaultFileSystem fs;
        Spool spool(fs, state.path());
        spool.save(job(1));
        const std::string text = state.read("queue/1.json");
        for (std::uint64_t id = 2; id <= kCount; ++id)
            state.write("queue/" + std::to_string(id) + ".json", nlohmann::json(job(id)).dump());
    }
    FaultFileSystem fs;
    Spool spool(fs, state.path());
    const auto contents = spool.load();
    CHECK(contents.jobs.size() == kCount);
    CHECK(contents.jobs.back() == job(kCount));
    CHECK(fs.calls() <= 5 * kCount);
}

TEST_CASE("a pause and the totals are kept, and what an interrupted write left is removed") {
    const StateDirectory state;
    FaultFileSystem fs;
    {
        Spool spool(fs, state.path());
        std::vector<BadFile> bad;
        CHECK(spool.load_totals(bad) == api::Totals());
        CHECK_FALSE(spool.is_paused());
        spool.set_paused(false);
        spool.set_paused(true);
        spool.set_paused(true);
        api::Totals totals;
        totals.done = 7;
        totals.last_failure_at = 5;
        spool.save_totals(totals);
    }
    state.write(".vmad-0123456789abcdef.tmp", "half");
    Spool spool(fs, state.path());
    (void)spool.load();
    std::vector<BadFile> bad;
    CHECK(spool.is_paused());
    CHECK(spool.load_totals(bad).done == 7);
    CHECK(spool.load_totals(bad).last_failure_at == 5);
    CHECK(bad.empty());
    CHECK(names_in(state.path()) ==
          std::set<std::string>{"archives", "incoming", "lock", "paused", "queue", "totals.json"});
    spool.set_paused(false);
    CHECK_FALSE(spool.is_paused());
}
