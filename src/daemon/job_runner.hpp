// Runs the jobs of the queue: picks the next one (queue/schedule), starts its worker process, and passes the
// result on to the queue.
//
// The worker of a verify job is halted by signals while queue/schedule wants it to be. Never touches the
// storage itself: workers do. One thread, that of the event loop.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "api/status.hpp"
#include "daemon/alarm.hpp"
#include "daemon/mount_watch.hpp"
#include "daemon/worker_process.hpp"
#include "io/rate_limit.hpp"
#include "queue/catalogue.hpp"
#include "queue/queue.hpp"
#include "queue/schedule.hpp"
#include "settings/settings.hpp"

namespace vmad::daemon {

class JobRunner {
  public:
    struct Callbacks {
        /// A job is in another state; the queue has made it durable.
        std::function<void(const api::Job&)> changed;
        /// The worker of a running job is further.
        std::function<void(const api::Job&)> progressed;
    };

    /// Takes up the jobs of `queue`, and starts none before start_what_can(). The references outlive this.
    JobRunner(sd_event* event, io::FileSystem& fs, queue::Queue& queue, queue::Catalogue& catalogue,
              const settings::Settings& settings, bool paused, Callbacks callbacks);
    JobRunner(const JobRunner&) = delete;
    JobRunner& operator=(const JobRunner&) = delete;

    /// Call it after a change of a job that was not made here.
    void update(const api::Job& job) { schedule_.update(job); }
    /// Somebody waits for the job, or no longer does: it may start also while others are held.
    void set_awaited(std::uint64_t id, bool awaited) { schedule_.set_awaited(id, awaited); }
    void start_what_can();

    /// The settings have changed. They hold for jobs that start from now on, the rate for all.
    void settings_changed();
    /// `now`: running jobs are abandoned, and queued again.
    void pause(bool now);
    void resume();
    /// Stops the worker of a job that runs.
    void abandon(std::uint64_t id);
    /// Starts no more jobs, stops the running ones, which are queued again, and then ends the event loop.
    void stop();

    struct Held {
        api::Hold why;
        std::optional<std::int64_t> until;
    };
    /// Why queued repacks do not start now; nothing when they do.
    [[nodiscard]] std::optional<Held> held() const { return holds().repacks; }
    /// Running and publishing jobs.
    [[nodiscard]] std::vector<api::Job> active() const;
    [[nodiscard]] api::Job with_progress(const api::Job& job) const;
    /// Where the file system of an absolute path is mounted; empty when nothing is.
    [[nodiscard]] std::string mount_point_of(const std::string& path) const;

  private:
    /// How a worker ended, as far as the queue does not know yet.
    struct RunEnd {
        std::optional<api::WorkerResult> result;
        std::string how;
    };

    struct Holds {
        std::optional<Held> repacks;
        std::optional<Held> verifies;
    };
    [[nodiscard]] Holds holds() const;
    /// One that does not end while somebody waits for it to: when to look again.
    [[nodiscard]] std::int64_t look_for_end_of(const Holds& holds) const;
    [[nodiscard]] const io::RateLimit& rate_for(const api::Job& job) const;
    void set_rates();

    void start(std::uint64_t id);
    void start_worker(const api::Job& job);
    /// Makes the workers of verify jobs stand still, or go on, as the schedule wants it now.
    void halt_and_go_on();
    /// Stops the worker that verifies the archive of a repack that is about to start: it has locked an
    /// archive that is about to be replaced. False when there is none.
    bool abandon_verify_beside(const api::Job& job);
    [[nodiscard]] api::WorkerOrder order_for(const api::Job& job) const;
    /// WorkerOrder::known_beside.
    [[nodiscard]] std::vector<std::string> known_beside(const api::Job& job) const;
    void keep_record(std::uint64_t id, const api::WorkerRecord& record);
    void worker_ended(std::uint64_t id, RunEnd end);
    /// Makes what a run found out about archives durable: before its end is, so that a crash in between only
    /// lets it be found out once more.
    void keep_findings(const api::Job& job, api::WorkerResult& result);
    /// Passes runs that ended on to the queue; those that it cannot save stay for the next time.
    void report_run_ends();
    void changed(const api::Job& job);
    void mounts_changed();
    /// The worker of a job has sent something.
    void heard_of(std::uint64_t id);
    void look_for_stalled_workers();

    sd_event* event_;
    io::FileSystem& fs_;
    queue::Queue& queue_;
    queue::Catalogue& catalogue_;
    const settings::Settings& settings_;
    Callbacks callbacks_;
    bool paused_;
    bool stopping_ = false;
    io::RateLimit rate_;
    io::RateLimit verify_rate_;  ///< of verify jobs, where they have one of their own
    MountWatch mounts_;
    queue::Schedule schedule_;
    std::map<std::uint64_t, std::unique_ptr<WorkerProcess>> workers_;  ///< by job id
    std::set<std::uint64_t> abandoned_;               ///< jobs whose worker was asked to stop
    std::map<std::uint64_t, std::int64_t> heard_at_;  ///< of running jobs; 0 of those that are stalled
    std::map<std::uint64_t, api::JobProgress> progress_;
    std::set<std::uint64_t> halted_;
    std::map<std::uint64_t, RunEnd> run_ends_;
    Alarm alarm_;
};

}  // namespace vmad::daemon
