// Which job runs next: the oldest repack that is ready, one at a time on a file system, `workers` in all.
// While no job is to start on its own, those that somebody waits for still may.
//
// Verify jobs come after all repacks, and a repack never waits for one: a verify job that runs is halted
// while a repack runs on its file system, and while repacks take all workers. There is one of them on a file
// system, too.
//
// Knows only the jobs that update() was called with, and does no I/O and asks no clock. It is kept up to date
// job by job instead of looking through the whole queue at each pick, so that draining a queue of n jobs
// costs n log n. One thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>

#include "api/job.hpp"

namespace vmad::queue {

class Schedule {
  public:
    /// Names the file system of a path: equal for paths on the same one. Must not block.
    using FileSystemKey = std::function<std::string(const std::string& path)>;

    /// `workers` is at least 1.
    Schedule(FileSystemKey key_of, unsigned workers) : key_of_(std::move(key_of)), workers_(workers) {}

    void set_workers(unsigned workers) { workers_ = workers; }

    /// To be called once for each job at the start, and after every change of one. Ended jobs are forgotten.
    void update(const api::Job& job);

    /// Somebody waits for the job, or no longer does. No effect on an unknown job.
    void set_awaited(std::uint64_t id, bool awaited);

    /// A running job does not get on, as on a share that does not answer, or does so again: while it does
    /// not, it takes no worker from the others, but still its file system.
    void set_stalled(std::uint64_t id, bool stalled);

    /// Makes a waiting job ready now.
    void wake(std::uint64_t id);

    /// Asks for the key of every job anew, after something was mounted or unmounted. Running jobs keep
    /// theirs: they hold on to the file system on which they began.
    void ask_keys_again();

    enum class Choice { any, awaited, none };
    /// The job to start now, the lowest id of a repack first, among all or only among the awaited ones of
    /// each kind; the answer changes only with the calls above and time. Nothing when none is ready, all
    /// workers are taken, or every ready job's file system is.
    [[nodiscard]] std::optional<std::uint64_t> next(std::int64_t now, Choice repacks, Choice verifies);
    [[nodiscard]] std::optional<std::uint64_t> next(std::int64_t now, Choice choice = Choice::any) {
        return next(now, choice, choice);
    }

    /// The verify jobs that run, and whether the worker of each has to stand still now.
    [[nodiscard]] std::map<std::uint64_t, bool> halted() const;

    /// The earliest time at which a waiting job becomes ready; none when none waits.
    [[nodiscard]] std::optional<std::int64_t> look_again_at() const;

  private:
    enum class Place { ready, waiting, running };
    struct Entry {
        std::string path;
        api::JobKind kind = api::JobKind::repack;
        std::string key{};
        Place place = Place::ready;
        std::int64_t retry_at = 0;  ///< of a waiting job
        bool awaited = false;
        bool stalled = false;  ///< only of a running job
    };
    struct OfKind {
        std::set<std::uint64_t> ready;
        std::set<std::uint64_t> awaited;  ///< of those
        unsigned running = 0;
        [[nodiscard]] bool is_empty() const noexcept { return ready.empty() && running == 0; }
    };
    struct Lane {
        OfKind repacks;
        OfKind verifies;
        [[nodiscard]] OfKind& of(api::JobKind kind) noexcept {
            return kind == api::JobKind::repack ? repacks : verifies;
        }
    };
    /// The first that may start, as far as it is about itself.
    [[nodiscard]] static std::optional<std::uint64_t> first_of(const OfKind& jobs, Choice choice);
    [[nodiscard]] std::optional<std::uint64_t> next_repack(Choice choice) const;
    [[nodiscard]] std::optional<std::uint64_t> next_verify(Choice choice) const;
    /// Workers that repacks leave to verify jobs.
    [[nodiscard]] unsigned left_workers() const noexcept {
        return workers_ - std::min(workers_, running_repacks_);
    }
    void insert(std::uint64_t id, Entry entry);
    void count_running(std::uint64_t id, const Entry& entry, int change);
    /// Returns what was known of the job.
    std::optional<Entry> remove(std::uint64_t id);

    FileSystemKey key_of_;
    unsigned workers_;
    unsigned running_repacks_ = 0;  ///< but for stalled ones
    std::set<std::uint64_t> running_verifies_;
    std::unordered_map<std::uint64_t, Entry> entries_;
    std::map<std::string, Lane> lanes_;  ///< by key, none of them empty; few, as file systems are
    std::set<std::pair<std::int64_t, std::uint64_t>> waiting_;  ///< by retry_at
};

}  // namespace vmad::queue
