// The daemon's state on a file system that fails: each change of the queue and the catalogue, requests of the
// hook, the start and a reload.
#include <fcntl.h>
#include <sys/socket.h>

#include <ctime>
#include <filesystem>

#include <doctest/doctest.h>

#include "call_matrix.hpp"
#include "daemon/queue_service.hpp"
#include "io/temporary_name.hpp"
#include "queue/catalogue.hpp"
#include "queue/incoming.hpp"
#include "queue/queue.hpp"
#include "support/run_outcome.hpp"
#include "support/temporary_directory.hpp"
#include "varlink/event_source.hpp"

using namespace vmad;
using namespace vmad::fault;
using namespace vmad::queue;
using api::Job;
using api::JobState;
namespace outcome = support::outcome;
using support::TemporaryDirectory;

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
Jobs on_disk(const TemporaryDirectory& state) {
    const TemporaryDirectory copy(TemporaryDirectory::fast_base());
    std::filesystem::copy((state / "queue"), (copy / "queue"));
    io::FileSystem fs;
    Jobs jobs;
    for (const Job& job : Spool(fs, copy.path()).load().jobs) jobs[job.id] = job;
    return jobs;
}

[[nodiscard]] bool has_leftovers(const TemporaryDirectory& state) {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(state.path()))
        if (io::is_temporary_name(entry.path().filename().string())) return true;
    return false;
}

/// Whatever fails, the change has not happened, in memory or on disk, and can be repeated.
class ChangesStage final : public Stage {
  public:
    std::string run(FailingFileSystem& fs) override {
        // The start is another stage's.
        const auto failure = fs.failure();
        fs.fail({});
        spool_.emplace(fs, state_.path());
        queue_.emplace(*spool_, 0);
        fs.fail(failure);
        return go_on();
    }

    void check(const std::string& error, const Failure& failure) override {
        const bool is_known = !failure.stays && !failure.was_done && failure.method != "unlink";
        if (!error.empty()) {
            demand(queue_->jobs() == before_, "a change is seen that could not be written");
            if (is_known) demand(on_disk(state_) == queue_->jobs(), "the disk has something else");
            if (is_known) demand(!has_leftovers(state_), "something is left");
        }
        const auto again = go_on();
        demand(again.empty(), "it cannot be repeated: " + again);
        static const Jobs expected = queue_->jobs();
        demand(queue_->jobs() == expected && expected.size() == 3, "the jobs are others");
        // What is said to be gone already is believed to be.
        if (hides_a_file(failure) || (failure.method == "unlink" && failure.error == ENOENT)) return;
        demand(on_disk(state_) == expected, "the jobs on the disk are others");
        spool_.reset();
        io::FileSystem fs;
        Spool spool(fs, state_.path());
        const Queue next(spool, 16);
        demand(next.jobs() == expected && next.bad_files().empty(), "the next start finds others");
        demand(!has_leftovers(state_), "the next start leaves something");
    }

  private:
    std::string go_on() {
        try {
            for (; next_ < changes().size(); ++next_) {
                before_ = queue_->jobs();
                changes()[next_](*queue_);
            }
            return "";
        } catch (const base::Error& error) {
            return error.what();
        }
    }

    TemporaryDirectory state_{TemporaryDirectory::fast_base()};
    std::optional<Spool> spool_;
    std::optional<Queue> queue_;
    std::size_t next_ = 0;
    Jobs before_;
};

/// What is known of archives, and what the hook leaves.
class RecordsStage final : public Stage {
  public:
    RecordsStage() { std::filesystem::create_directory(state_ / "archives"); }

    std::string run(FailingFileSystem& fs) override {
        try {
            const auto directory = fs.open(state_ / "archives", O_RDONLY | O_DIRECTORY);
            Catalogue catalogue(fs, directory);
            catalogue.put(record("/a", 1));
            catalogue.put(record("/b", 1));
            catalogue.put(record("/a", 2));
            (void)catalogue.forget("/b");
            (void)leave_request(fs, state_.path(), "/c");
            return "";
        } catch (const base::Error& error) {
            return error.what();
        }
    }

    void check(const std::string& error, const Failure& failure) override {
        // What is said to be gone already is believed to be.
        const bool was_forgotten = failure.method != "unlink" || failure.error != ENOENT;
        FailingFileSystem fs;
        const auto directory = fs.open(state_ / "archives", O_RDONLY | O_DIRECTORY);
        for (bool again : {false, true}) {
            if (again) demand(run(fs).empty(), "it cannot be repeated");
            const Catalogue catalogue(fs, directory);
            demand(catalogue.bad_files().empty(), "a record is damaged");
            if (again || error.empty()) {
                demand(again || !was_forgotten || catalogue.entries().size() == 1, "another record is there");
                demand(*catalogue.find("/a") == record("/a", 2), "the record is another one");
            }
            Spool spool(fs, state_.path());
            std::vector<std::string> paths;
            const auto bad = take_incoming(fs, spool.incoming_directory(), [&](const std::string& path) {
                paths.push_back(path);
                return std::nullopt;
            });
            demand(bad.empty() && (paths.empty() || paths.front() == "/c"), "a request is damaged");
            if (again || error.empty()) demand(!paths.empty(), "the request is lost");
        }
    }

  private:
    static api::ArchiveRecord record(const std::string& path, std::uint64_t size) {
        return {.path = path, .backup_at = 1, .size_bytes = size, .modified_ns = 1};
    }

    TemporaryDirectory state_{TemporaryDirectory::fast_base()};
};

/// A daemon starts on what an earlier one left, and reloads its settings: the next start finds every job.
class StartStage final : public Stage {
  public:
    StartStage() {
        io::FileSystem fs;
        {
            Spool spool(fs, state_.path());
            Queue queue(spool, 0);
            queue.enqueue({"/a", "/mnt"}, false, 1);
            queue.enqueue({"/b", "/mnt"}, false, 1);
            queue.start(1, "", 2);
            queue.enqueue({"/a", "/mnt"}, true, 3);
            queue.finish(1, outcome::done.because(""), now_);
            expected_ = queue.jobs();
            spool.set_paused(true);
        }
        // The start has to make the third job anew, remove one file and set another aside.
        std::filesystem::remove(state_ / "queue/3.json");
        state_.write("queue/.vmad-0123456789abcdef.tmp", "half");
        state_.write("queue/2.json~", "what is this");
        (void)leave_request(fs, state_.path(), "/c");
    }

    std::string run(FailingFileSystem& fs) override { return start(fs); }

    void check(const std::string&, const Failure& failure) override {
        // A daemon that is told that there is no job begins at 1 again, and one that is not paused starts
        // jobs.
        if (hides_a_file(failure) || (failure.method == "open_at" && failure.error == ENOENT)) return;
        FailingFileSystem fs;
        const auto error = start(fs);
        demand(error.empty(), "the next start fails: " + error);
        Spool spool(fs, state_.path());
        const Queue queue(spool, now_);
        auto jobs = queue.jobs();
        const auto* requested = queue.find("/c");
        demand(requested != nullptr, "the request is lost");
        jobs.erase(requested->id);
        jobs.at(3).queued_at = expected_.at(3).queued_at;  // it may have been made anew
        demand(jobs == expected_, "the jobs are others");
        demand(!has_leftovers(state_), "something is left");
        demand(state_.has("queue/2.json~.bad"), "what is no job is gone");
    }

  private:
    std::string start(io::FileSystem& fs) {
        try {
            settings::Settings settings;
            settings.state_dir = state_.path();
            settings.keep_days = 3650;
            const auto event = varlink::make_event();
            Spool spool(fs, state_.path());
            daemon::QueueService service(
                event.get(), fs, settings,
                [&] {
                    return settings::LoadedSettings{settings, {}};
                },
                spool, base::UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)));
            (void)service.reload();
            return "";
        } catch (const base::Error& error) {
            return error.what();
        }
    }

    TemporaryDirectory state_{TemporaryDirectory::fast_base()};
    Jobs expected_;
    std::int64_t now_ = std::time(nullptr);  ///< so that no job is too old
};

}  // namespace

TEST_CASE("each change of the queue") {
    fail_every_call("queue", [] { return std::make_unique<ChangesStage>(); });
}
TEST_CASE("records of archives and requests of the hook") {
    fail_every_call("records", [] { return std::make_unique<RecordsStage>(); });
}
TEST_CASE("start and reload of the daemon") {
    fail_every_call("daemon", [] { return std::make_unique<StartStage>(); });
}
