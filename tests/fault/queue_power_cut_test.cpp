// The power is cut at any operation of the queue and the catalogue, and of the next start: each step that had
// ended is known to the next daemon, and the one that was under way has happened or not.
#include <fcntl.h>

#include <algorithm>
#include <filesystem>

#include <doctest/doctest.h>

#include "base/error.hpp"
#include "io/temporary_name.hpp"
#include "power_cuts.hpp"
#include "queue/catalogue.hpp"
#include "queue/incoming.hpp"
#include "queue/queue.hpp"
#include "recording_file_system.hpp"
#include "support/run_outcome.hpp"

using namespace vmad;
using namespace vmad::fault;
using api::Job;
using api::JobKind;
using api::JobState;
using support::TemporaryDirectory;
namespace outcome = support::outcome;

namespace {

constexpr std::int64_t kNow = 1000;
constexpr std::size_t kMostStates = 600;
constexpr std::size_t kMostSecondStates = 2;

using Jobs = std::map<std::uint64_t, Job>;
using Records = std::map<std::string, api::ArchiveRecord>;

struct SmallDaemon {
    SmallDaemon(io::FileSystem& file_system, const std::string& state_dir)
        : fs(file_system),
          state(state_dir),
          spool(fs, state),
          jobs(spool, kNow),
          catalogue(fs, spool.archives_directory()) {}

    void take_incoming() {
        const auto bad = queue::take_incoming(fs, spool.incoming_directory(), [&](const std::string& path) {
            jobs.enqueue({.path = path, .mount_point = "/mnt"}, true, kNow);
            return std::nullopt;
        });
        if (!bad.empty()) throw base::Error("a request is damaged");
    }

    io::FileSystem& fs;
    std::string state;
    queue::Spool spool;
    queue::Queue jobs;
    queue::Catalogue catalogue;
};

struct Step {
    const char* title;
    std::function<void(SmallDaemon&)> act;
};

api::ArchiveRecord record(const std::string& path, std::uint64_t size, api::Verdict verdict) {
    return {.path = path, .backup_at = 1, .size_bytes = size, .modified_ns = 1, .verdict = verdict};
}

/// One after another, so that every kind of change is there, on new files and on old ones.
const std::vector<Step>& steps() {
    using Daemon = SmallDaemon;
    using api::Verdict;
    static const std::vector<Step> list = {
        {"enqueue",
         [](Daemon& d) {
             d.jobs.enqueue({"/a", "/mnt"}, true, 1);
         }},
        {"enqueue another",
         [](Daemon& d) {
             d.jobs.enqueue({"/b", "/mnt"}, false, 2);
         }},
        {"enqueue it again",
         [](Daemon& d) {
             d.jobs.enqueue({"/b", "/"}, true, 3);
         }},
        {"start", [](Daemon& d) { d.jobs.start(1, "", 4); }},
        {"name the guest", [](Daemon& d) { d.jobs.name_guest(1, "guest"); }},
        {"enqueue one that runs",
         [](Daemon& d) {
             d.jobs.enqueue({"/a", "/mnt"}, true, 5);
         }},
        {"record",
         [](Daemon& d) {
             d.jobs.save_recovery(1, {JobState::running, R"({"temporary":"x"})"});
         }},
        {"publish",
         [](Daemon& d) {
             d.jobs.save_recovery(1, {JobState::publishing, R"({"temporary":"x"})"});
         }},
        {"keep a record", [](Daemon& d) { d.catalogue.put(record("/a", 1, Verdict::good)); }},
        {"end, and owe the next", [](Daemon& d) { d.jobs.finish(1, outcome::done.sized(2, 1), 6); }},
        {"start another", [](Daemon& d) { d.jobs.start(2, "", 7); }},
        {"die", [](Daemon& d) { d.jobs.worker_died(2, "signal 9", 8); }},
        {"pause", [](Daemon& d) { d.spool.set_paused(true); }},
        {"start it again", [](Daemon& d) { d.jobs.start(2, "", 9); }},
        {"wait for space", [](Daemon& d) { d.jobs.finish(2, outcome::no_space.because("full"), 10); }},
        {"cancel", [](Daemon& d) { d.jobs.cancel(2, 11); }},
        {"retry", [](Daemon& d) { d.jobs.retry(2, 12); }},
        {"resume", [](Daemon& d) { d.spool.set_paused(false); }},
        {"enqueue a verify job",
         [](Daemon& d) { d.jobs.enqueue({.path = "/b", .kind = JobKind::verify}, false, 13); }},
        {"start it", [](Daemon& d) { d.jobs.start(4, "", 13); }},
        {"find damage", [](Daemon& d) { d.catalogue.put(record("/b", 1, Verdict::damaged)); }},
        {"fail", [](Daemon& d) { d.jobs.finish(4, outcome::failed.because("damaged"), 14); }},
        {"acknowledge", [](Daemon& d) { d.catalogue.acknowledge("/b"); }},
        {"start the repack", [](Daemon& d) { d.jobs.start(2, "", 15); }},
        {"replace a record", [](Daemon& d) { d.catalogue.put(record("/b", 2, Verdict::good)); }},
        {"end, and supersede", [](Daemon& d) { d.jobs.finish(2, outcome::done.sized(2, 1), 16); }},
        {"leave a request", [](Daemon& d) { (void)queue::leave_request(d.fs, d.state, "/c"); }},
        {"leave another", [](Daemon& d) { (void)queue::leave_request(d.fs, d.state, "/d"); }},
        {"take the requests", [](Daemon& d) { d.take_incoming(); }},
        {"start the next", [](Daemon& d) { d.jobs.start(3, "", 17); }},
        {"stop", [](Daemon& d) { d.jobs.finish(3, outcome::stopped.because(""), 18); }},
        {"forget an archive", [](Daemon& d) { (void)d.catalogue.forget("/b"); }},
        {"forget jobs", [](Daemon& d) { d.jobs.prune(100, 1); }},
    };
    return list;
}

/// What a daemon that starts knows.
struct Known {
    Jobs jobs;
    Records records;
    api::Totals totals;
    std::set<std::string> requests;  ///< paths that were left, and those of all jobs
    bool paused = false;
};

Known known_by(SmallDaemon& daemon) {
    Known known{.jobs = daemon.jobs.jobs(),
                .records = {},
                .totals = daemon.jobs.totals(),
                .requests = {},
                .paused = daemon.spool.is_paused()};
    // Of one that was made anew, it is that of the start.
    for (auto& [id, job] : known.jobs) job.queued_at = 0;
    for (const auto& entry : daemon.catalogue.entries()) known.records[entry.record.path] = entry.record;
    daemon.take_incoming();
    for (const auto& [id, job] : daemon.jobs.jobs()) known.requests.insert(job.path);
    return known;
}

DiskImage image_after(const RecordingFileSystem& fs) {
    ChangingDisk disk(fs.start());
    for (const auto& operation : fs.operations()) disk.apply(operation);
    return disk.now();
}

/// A day has gone by since the cut.
DiskImage aged(DiskImage image) {
    for (const auto& [path, node] : image.paths())
        if (io::is_temporary_name(path.substr(path.rfind('/') + 1))) image.files.at(node).modified_ns = 0;
    return image;
}

class CutQueue {
  public:
    CutQueue() {
        RecordingFileSystem fs(root_, empty_image());
        std::vector<DiskImage> images{fs.start()};
        {
            SmallDaemon daemon(fs, state());
            for (const auto& step : steps()) {
                step.act(daemon);
                ends_.push_back(fs.operations().size());
                images.push_back(image_after(fs));
            }
        }
        start_ = fs.start();
        operations_ = fs.operations();
        for (const auto& image : images) {
            RecordingFileSystem next(root_, image);
            SmallDaemon daemon(next, state());
            expected_.push_back(known_by(daemon));
        }
    }

    void cut_everywhere() {
        auto states = states_after_cuts(
            start_, operations_, [&](std::size_t done) { return steps_done(done); }, seen_);
        const auto found = states.size();
        states = sampled(std::move(states), kMostStates);
        std::size_t number = 0;
        for (const auto& state : states) {
            CAPTURE(state.title);
            const auto done = steps_done(state.operations);
            const std::string step = done < steps().size() ? steps()[done].title : "the end";
            CAPTURE(step);
            RecordingFileSystem fs(root_, aged(state.image));
            start_again(fs, done);
            cut_again(fs, done, number++);
        }
        print_cuts("queue", operations_.size(), found, states.size());
        print_cuts("queue, and in the next start", second_operations_, second_tried_, second_tried_);
    }

  private:
    [[nodiscard]] std::string state() const { return root_ / "state"; }
    [[nodiscard]] std::size_t steps_done(std::size_t operations) const {
        return static_cast<std::size_t>(std::upper_bound(ends_.begin(), ends_.end(), operations) -
                                        ends_.begin());
    }

    void cut_again(const RecordingFileSystem& fs, std::size_t done, std::size_t seed) {
        const auto operations = fs.operations();
        const auto states = some_states_after_cuts(fs.start(), operations, kMostSecondStates, seed);
        second_operations_ += operations.size();
        second_tried_ += states.size();
        for (const auto& state : states) {
            INFO("and again, seed " << seed << ": " << state.title);
            RecordingFileSystem next(root_, aged(state.image));
            start_again(next, done);
        }
    }

    void start_again(RecordingFileSystem& fs, std::size_t done) const {
        SmallDaemon daemon(fs, state());
        CHECK(daemon.jobs.bad_files().empty());
        CHECK(daemon.catalogue.bad_files().empty());
        auto found = known_by(daemon);
        const auto& before = expected_[done];
        const auto& after = expected_[std::min(done + 1, steps().size())];
        // Of requests that an earlier start has taken, and of its own look at ids.
        std::erase_if(found.jobs, [&](const auto& item) {
            const auto& [id, job] = item;
            const bool is_request = !after.jobs.contains(id) && after.requests.contains(job.path);
            return !before.jobs.contains(id) && job.state == JobState::queued &&
                   (is_request || job.path == "/new");
        });
        check_each(found, done, &Known::jobs);
        check_each(found, done, &Known::records);
        CHECK((found.paused == before.paused || found.paused == after.paused));
        CHECK((found.totals == before.totals || found.totals == after.totals));
        for (const auto& path : before.requests)
            if (after.requests.contains(path)) CHECK(found.requests.contains(path));
        for (const auto& entry : std::filesystem::recursive_directory_iterator(state()))
            CHECK_FALSE(io::is_temporary_name(entry.path().filename().string()));
        // No id is given twice.
        const auto& next = daemon.jobs.enqueue({"/new", "/mnt"}, true, kNow).job;
        for (const auto& [id, job] : before.jobs) CHECK(next.id > id);
    }

    /// Each as it was before the step or as it is after it. What was forgotten may come back, as it was then.
    template <typename Map>
    void check_each(const Known& known, std::size_t done, Map Known::*part) const {
        const auto& found = known.*part;
        const auto& before = expected_[done].*part;
        const auto& after = expected_[std::min(done + 1, steps().size())].*part;
        for (const auto& [key, value] : found) {
            CAPTURE(key);
            bool is_expected = is_in(before, key, value) || is_in(after, key, value);
            if (!before.contains(key))
                for (std::size_t earlier = 0; earlier < done; ++earlier)
                    is_expected = is_expected || is_in(expected_[earlier].*part, key, value);
            CHECK(is_expected);
        }
        for (const auto& [key, value] : before) {
            CAPTURE(key);
            if (after.contains(key)) CHECK(found.contains(key));
        }
    }

    template <typename Map>
    static bool is_in(const Map& map, const typename Map::key_type& key,
                      const typename Map::mapped_type& value) {
        const auto entry = map.find(key);
        return entry != map.end() && entry->second == value;
    }

    TemporaryDirectory root_{TemporaryDirectory::fast_base()};
    DiskImage start_;
    std::vector<Operation> operations_;
    std::vector<std::size_t> ends_;  ///< how many operations there were after each step
    std::vector<Known> expected_;    ///< at the start, and after each step
    std::set<std::size_t> seen_;
    std::size_t second_operations_ = 0;
    std::size_t second_tried_ = 0;
};

}  // namespace

TEST_CASE("after a power cut in any step of the queue the next daemon knows what was acknowledged") {
    CutQueue().cut_everywhere();
}
