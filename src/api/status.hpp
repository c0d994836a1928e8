// What the daemon says about itself and its queue (QueueStatus in the description, where the method has the
// name), and what all jobs that ever ended come to, those too that are forgotten by now; with their one JSON
// form. Pure data, no thread rule.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "api/job.hpp"

namespace vmad::api {

/// Upper limits of the classes of durations, in seconds; what takes longer is in one more class.
inline constexpr std::array<std::int64_t, 9> kDurationLimits{1, 10, 60, 300, 900, 1800, 3600, 10800, 36000};

/// Of verify jobs that ended.
struct VerifyTotals {
    std::uint64_t good = 0;
    std::uint64_t damaged = 0;
    std::uint64_t failed = 0;  ///< for another reason than damage
    std::uint64_t vanished = 0;
    std::uint64_t cancelled = 0;
    std::uint64_t bytes = 0;             ///< sizes of the archives that were found good or damaged
    std::uint64_t duration_seconds = 0;  ///< of the last runs of the same
    std::optional<std::int64_t> last_good_at;
    std::optional<std::int64_t> last_damaged_at;
    friend bool operator==(const VerifyTotals&, const VerifyTotals&) = default;
};

/// Of repack jobs, but for `verify` and `counted`.
struct Totals {
    // Jobs by their end.
    std::uint64_t done = 0;
    std::uint64_t unchanged = 0;
    std::uint64_t vanished = 0;
    std::uint64_t failed = 0;
    std::uint64_t cancelled = 0;
    // Of the jobs that were done: sizes of their archives.
    std::uint64_t bytes_before = 0;
    std::uint64_t bytes_after = 0;
    /// Of the jobs that were done, by how long their last run took; not cumulative.
    std::array<std::uint64_t, kDurationLimits.size() + 1> durations{};
    std::uint64_t duration_seconds = 0;           ///< their sum
    std::optional<std::int64_t> last_success_at;  ///< done or unchanged; seconds since the epoch
    std::optional<std::int64_t> last_failure_at;
    VerifyTotals verify;
    std::uint64_t counted = 0;  ///< the highest Job::end_number that is in here

    /// Counts a job that has ended, unless it is in here already.
    void add(const Job& ended);
    friend bool operator==(const Totals&, const Totals&) = default;
};

/// Reading throws base::Error that names the field; unknown fields are ignored.
void to_json(nlohmann::json& out, const VerifyTotals& totals);
void from_json(const nlohmann::json& in, VerifyTotals& totals);
void to_json(nlohmann::json& out, const Totals& totals);
void from_json(const nlohmann::json& in, Totals& totals);

/// Ended jobs in a Status, and waiting ones, at most.
inline constexpr std::size_t kMaxRecentJobs = 20;
inline constexpr std::size_t kMaxWaitingJobs = 20;

/// The number of jobs in each state.
class JobCounts {
  public:
    [[nodiscard]] std::uint64_t& operator[](JobState state) noexcept {
        return by_state_[static_cast<std::size_t>(state)];
    }
    [[nodiscard]] std::uint64_t operator[](JobState state) const noexcept {
        return by_state_[static_cast<std::size_t>(state)];
    }
    friend bool operator==(const JobCounts&, const JobCounts&) = default;

  private:
    std::array<std::uint64_t, kJobStateNames.size()> by_state_{};
};

/// Why no queued job starts, but those that somebody waits for (and not even these while paused).
enum class Hold {
    paused,        ///< by the administrator
    start_window,  ///< outside of it
    vzdump,        ///< a backup runs on this node
};
inline constexpr std::array<const char*, 3> kHoldNames{"paused", "start_window", "vzdump"};
[[nodiscard]] const char* to_string(Hold hold) noexcept;

/// The archives that the daemon knows.
struct ArchiveCounts {
    std::uint64_t known = 0;
    std::uint64_t unverified = 0;
    std::uint64_t damaged = 0;
    std::uint64_t unacknowledged = 0;  ///< damaged ones
    std::uint64_t overdue = 0;         ///< is_overdue()
    /// The last good look at the archive of which it is longest ago; none when one never had one.
    std::optional<std::int64_t> verified_at;
    friend bool operator==(const ArchiveCounts&, const ArchiveCounts&) = default;
};

struct Status {
    std::string version;
    std::int64_t pid = 0;
    std::int64_t started_at = 0;  ///< seconds since the epoch
    std::string state_dir;
    std::uint32_t workers = 0;  ///< jobs that may run at a time
    JobCounts counts;           ///< of repack jobs
    JobCounts verify_counts;    ///< of verify jobs
    ArchiveCounts archives;
    std::optional<std::int64_t> verify_every_seconds;  ///< the setting; none: off
    std::vector<std::string> directories;              ///< the setting; empty: anywhere
    std::optional<Hold> hold;
    std::optional<std::int64_t> hold_until;  ///< when it ends, where that is known
    std::optional<std::int64_t> oldest_at;   ///< when the oldest repack that has not ended was queued
    Totals totals;
    std::vector<Job> active;   ///< running and publishing
    std::vector<Job> waiting;  ///< the first that were queued, at most kMaxWaitingJobs
    std::vector<Job> recent;   ///< ended last, the newest first, at most kMaxRecentJobs
    friend bool operator==(const Status&, const Status&) = default;
};

/// Reading throws base::Error that names the field; unknown fields are ignored.
void to_json(nlohmann::json& out, const ArchiveCounts& counts);
void from_json(const nlohmann::json& in, ArchiveCounts& counts);
void to_json(nlohmann::json& out, const JobCounts& counts);
void from_json(const nlohmann::json& in, JobCounts& counts);
void to_json(nlohmann::json& out, const Status& status);
void from_json(const nlohmann::json& in, Status& status);

}  // namespace vmad::api
