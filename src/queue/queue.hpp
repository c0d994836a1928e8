// The jobs, in memory over the spool, and the moves from state to state that there are.
//
// Every change is on disk before it can be seen here, and a change that cannot be written throws and has not
// happened, here or there. What a fresh Queue loads from the disk is what this one holds, but for running
// jobs, which are queued again. Starts no workers (daemon/) and picks no job (queue/schedule.hpp). Time is
// given, in seconds since the epoch. One thread. References to jobs hold until the job is changed or pruned.
//
//     queued ──> running ──> publishing ──> done, unchanged, vanished, failed
//        ^          └────────────┴────────> waiting, or queued again after a stop or a death
//        └── waiting, and any final state by retry      (from all others it can become cancelled)
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "api/job.hpp"
#include "api/status.hpp"
#include "api/worker_messages.hpp"
#include "queue/spool.hpp"

namespace vmad::queue {

/// What is wrong with a path, such as "not absolute"; nothing when a job can have it: JSON can hold it, and
/// the kernel takes it as it stands.
[[nodiscard]] std::optional<std::string> fault_of_path(const std::string& path);

class Queue {
  public:
    /// Loads the spool, which outlives the object. Jobs that ran when the last daemon stopped are queued
    /// again, with their recovery record, by which the next worker recovers first.
    Queue(Spool& spool, std::int64_t now);

    /// Files that were set aside at the start, for the log.
    [[nodiscard]] const std::vector<BadFile>& bad_files() const noexcept { return bad_files_; }

    // Looking.

    /// By id, which is also by age.
    [[nodiscard]] const std::map<std::uint64_t, api::Job>& jobs() const noexcept { return jobs_; }
    /// Null when there is no such job.
    [[nodiscard]] const api::Job* find(std::uint64_t id) const;
    /// The job of this kind of a path that has not ended, else the last one that has; null when there is
    /// none.
    [[nodiscard]] const api::Job* find(const std::string& path, api::JobKind kind) const;
    /// The same of any kind: of those that have not ended, the repack.
    [[nodiscard]] const api::Job* find(const std::string& path) const;
    /// At most `most` ended jobs, the last end first.
    [[nodiscard]] std::vector<const api::Job*> recently_ended(std::size_t most) const;
    /// At most `most` waiting jobs, repacks first, and those first that were queued first.
    [[nodiscard]] std::vector<const api::Job*> oldest_waiting(std::size_t most) const;
    [[nodiscard]] const api::JobCounts& counts(api::JobKind kind = api::JobKind::repack) const noexcept {
        return of(kind).counts;
    }
    /// Of every job that ever ended, the forgotten ones too.
    [[nodiscard]] const api::Totals& totals() const noexcept { return totals_; }
    /// When the oldest of the repacks that have not ended was queued.
    [[nodiscard]] std::optional<std::int64_t> oldest_queued_at() const;
    /// When the first of the ended jobs ended.
    [[nodiscard]] std::optional<std::int64_t> oldest_ended_at() const;
    /// Of the kind of which there are more.
    [[nodiscard]] std::size_t ended_count() const noexcept;

    /// Paths of failed jobs in the directory of `path`, at most `most`.
    [[nodiscard]] std::vector<std::string> failed_beside(const std::string& path, std::size_t most) const;
    /// What the last attempt found out about the room in the directory of a job: its own, or that of another
    /// waiting job. Null when there is none.
    [[nodiscard]] const api::SpaceRefusal* space_refusal_for(const api::Job& job) const;

    // Moving. Each throws base::SystemError when it cannot be written, and base::Error when there is no such
    // job or it is not in a state for that.

    /// What is known of an archive when it is queued.
    struct Archive {
        std::string path;
        std::string mount_point{};  ///< where the path's file system is mounted now
        std::string storage{};      ///< Proxmox's name of it, or empty
        std::optional<std::uint64_t> vmid{};
        std::string file{};  ///< which version of the file was seen, or empty
        api::JobKind kind = api::JobKind::repack;
        std::string guest{};  ///< its name, if it is known already
    };
    struct Enqueued {
        const api::Job& job;
        bool created;
        bool moved;  ///< it came into its state by this
    };
    /// Queues an archive, unless its last job of the kind failed for just this version of the file: then that
    /// one is the answer. Nor when a job of the kind for its path has not ended yet. Then that job is the
    /// answer, and one that runs is marked to run again. `announced`: a hook says that the file is finished,
    /// hence new: a waiting job is queued at once, as if it had never been tried. Throws base::UsageError for
    /// a path that fault_of_path() objects to.
    Enqueued enqueue(const Archive& archive, bool announced, std::int64_t now);

    /// A worker is about to start on a queued or waiting job: to be called before it does. `mount_point`:
    /// where the path's file system is mounted now; it is remembered when it is a more special one than
    /// before.
    const api::Job& start(std::uint64_t id, const std::string& mount_point, std::int64_t now);

    /// The worker of a running job has read the name of its guest.
    const api::Job& name_guest(std::uint64_t id, const std::string& name);

    /// What the worker of a running repack must have on disk before it goes on.
    /// The record stays with the job, for the next worker to recover by, until a run ends well: to recover
    /// twice does no harm.
    const api::Job& save_recovery(std::uint64_t id, const api::WorkerRecord& record);

    struct Finished {
        const api::Job& job;
        const api::Job* next;  ///< the new job for a path that was queued again while this one ran, or null
        std::vector<const api::Job*> superseded{};  ///< earlier failures that no longer count: cancelled now
    };
    /// The worker of a running job reported a result. done, unchanged, vanished and failed end the job.
    /// waiting: for retry it waits longer each time, and fails the kMostFailedAttempts-th time in a row; for
    /// all else it waits without a limit. queued (the worker was stopped) queues it again and does not count
    /// as an attempt. A job that was queued once more while it ran is queued instead of waiting. An end
    /// supersedes the earlier failures of its kind and path; that a repack is done, or that the archive has
    /// vanished, those of the other kind, too; and `gone` those of archives that are gone.
    Finished finish(std::uint64_t id, const api::WorkerResult& result, std::int64_t now);

    /// The worker of a running job ended without a result; `how` is "signal 9", for example. Queues the job
    /// again, or ends it as failed after kMostAttempts without a result; when its last run left something, it
    /// runs once more only to recover (only_recovers()).
    Finished worker_died(std::uint64_t id, const std::string& how, std::int64_t now);

    /// Ends a queued or waiting job as cancelled, after a run that only recovers if its last one left
    /// something. Of one that runs, remembers the wish: the caller stops the worker, and finish or
    /// worker_died then end the job as cancelled instead of queueing it again or letting it wait. The wish
    /// does not outlive the object. In its grace period it is queued, to end as done at once. A failed job
    /// becomes cancelled: somebody has acknowledged it; others that have ended are left alone.
    const api::Job& cancel(std::uint64_t id, std::int64_t now);

    /// Queues the last job of the path and kind of this one again now, whether it waits or has ended, as if
    /// it had never been tried, and wherever its path leads now. One that is queued or runs is the answer,
    /// unchanged.
    const api::Job& retry(std::uint64_t id, std::int64_t now);

    /// Forgets the jobs that ended before `ended_before`, and the oldest ends beyond `most` of each kind, but
    /// never the highest id (see the spool). Returns the ids; when it throws, some may be forgotten already.
    std::vector<std::uint64_t> prune(std::int64_t ended_before, std::size_t most);

  private:
    [[nodiscard]] const api::Job& require(std::uint64_t id) const;
    [[nodiscard]] const api::Job& require_running(std::uint64_t id) const;
    [[nodiscard]] const api::Job* find_live(const std::string& path, api::JobKind kind) const;
    const api::Job& save(api::Job job);
    const api::Job& install(api::Job job);
    Finished leave_run(api::Job job, bool run_again, std::int64_t now);
    /// Failures of this kind.
    void supersede(const std::string& path, api::JobKind kind, const std::string& reason,
                   std::vector<const api::Job*>& superseded);
    /// Those that no longer count because of the end of this job.
    void supersede_by(const api::Job& ended, std::vector<const api::Job*>& superseded);
    Finished end(api::Job job, std::int64_t now);
    /// Makes the totals durable if they count the end of this job: it is about to be forgotten.
    void keep_totals_of(const api::Job& ended);
    void leave_indexes(const api::Job& job);
    /// The recovery record that the last job of a path still had when it ended, or empty: the next job of the
    /// path recovers by it.
    [[nodiscard]] std::string open_recovery_of(const std::string& path) const;
    [[nodiscard]] api::Job next_for(const api::Job& job, std::int64_t now) const;

    using TimedIds = std::set<std::pair<std::int64_t, std::uint64_t>>;
    /// Jobs of the two kinds know nothing of each other, but for what their ends supersede.
    struct OfKind {
        std::unordered_map<std::string, std::uint64_t> live;      ///< jobs that have not ended, by path
        std::unordered_map<std::string, std::uint64_t> last;      ///< the highest id, by path
        std::map<std::string, std::set<std::uint64_t>> failures;  ///< failed jobs, by path
        TimedIds ends;                                            ///< ended_at and id of ended jobs
        TimedIds unfinished;                                      ///< queued_at and id of all others
        api::JobCounts counts;
    };
    [[nodiscard]] OfKind& of(api::JobKind kind) noexcept { return by_kind_[static_cast<std::size_t>(kind)]; }
    [[nodiscard]] const OfKind& of(api::JobKind kind) const noexcept {
        return by_kind_[static_cast<std::size_t>(kind)];
    }

    Spool& spool_;
    std::map<std::uint64_t, api::Job> jobs_;
    std::array<OfKind, api::kJobKindNames.size()> by_kind_;
    std::unordered_map<std::string, std::uint64_t>
        open_recoveries_;                     ///< ended repacks that left a recovery record, by path
    std::set<std::uint64_t> short_of_space_;  ///< waiting jobs with a space refusal
    std::set<std::uint64_t> to_cancel_;       ///< running jobs
    api::Totals totals_;
    std::uint64_t totals_saved_ = 0;  ///< Totals::counted on the disk
    std::uint64_t last_id_ = 0;
    std::vector<BadFile> bad_files_;
};

}  // namespace vmad::queue
