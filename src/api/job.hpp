// A job: one archive on its way through the queue, and its one JSON form.
//
// The same form is kept in the spool, sent over the socket and printed by --json; org.vmad.Queue.varlink is
// its schema. Pure data, no thread rule.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include <nlohmann/json.hpp>

namespace vmad::api {

enum class JobState {
    queued,      ///< will run as soon as a worker and its file system are free
    running,     ///< a worker repacks and proves it
    publishing,  ///< the proven copy is being swapped in
    waiting,     ///< until `retry_at` or a condition; `reason` says for what
    done,        ///< the archive is canonical now
    unchanged,   ///< it was canonical already
    vanished,    ///< it was removed, for example pruned
    failed,      ///< `reason` says why; the archive is as it was
    cancelled,   ///< by the administrator
};

inline constexpr std::array<const char*, 9> kJobStateNames{
    "queued", "running", "publishing", "waiting", "done", "unchanged", "vanished", "failed", "cancelled"};

/// "queued", "running", …
[[nodiscard]] const char* to_string(JobState state) noexcept;
/// Throws base::Error for a name that is not one of the states.
[[nodiscard]] JobState job_state_from_string(const std::string& name);
/// True for the states that a job never leaves on its own: done, unchanged, vanished, failed, cancelled.
[[nodiscard]] bool is_end(JobState state) noexcept;

/// What a waiting job waits for.
enum class WaitReason {
    retry,    ///< an error that may be gone the next time
    space,    ///< room for the copy
    storage,  ///< the file system to be mounted and to answer
    busy,     ///< another process, or the archive to become old enough
    linger,   ///< it is canonical already; the old file is kept for readers on other nodes
};
inline constexpr std::array<const char*, 5> kWaitReasonNames{"retry", "space", "storage", "busy", "linger"};
[[nodiscard]] const char* to_string(WaitReason reason) noexcept;

/// How far the worker of a running job is. Not kept in the spool.
struct JobProgress {
    std::string stage;  ///< "repacking" or "verifying"
    std::uint64_t done_bytes = 0;
    std::uint64_t total_bytes = 0;
    std::uint64_t bytes_per_second = 0;              ///< over the last seconds; 0 when not known yet
    std::optional<std::uint64_t> remaining_seconds;  ///< of the stage
    friend bool operator==(const JobProgress&, const JobProgress&) = default;
};

/// Times are seconds since the epoch (UTC); sizes are bytes.
struct Job {
    std::uint64_t id = 0;  ///< from 1, never used twice
    std::string path;      ///< absolute, UTF-8
    JobState state = JobState::queued;
    /// For waiting and failed, and what is to be failed once it is settled: one sentence.
    std::string reason;
    std::optional<WaitReason> waiting_for;  ///< of a waiting job
    std::string notice;   ///< something odd about the archive that the last run found: one sentence
    std::string storage;  ///< Proxmox's name of the storage, where the caller named it
    std::optional<std::uint64_t> vmid;  ///< from the archive's name
    bool announced = false;             ///< a hook named it as finished: no minimum age
    std::int64_t queued_at = 0;
    std::optional<std::int64_t> started_at;  ///< of the last run
    std::optional<std::int64_t> ended_at;
    std::optional<std::uint64_t> end_number;  ///< ends are numbered from 1, so that each is counted once
    std::optional<std::int64_t> retry_at;     ///< waiting: not before this time
    std::uint32_t starts = 0;                 ///< workers started since one last reported a result
    std::uint32_t tries = 0;                  ///< transient failures in a row
    /// The job has come to this end, failed or cancelled, but what its last run left is settled first.
    std::optional<JobState> settles_to;
    bool run_again = false;  ///< named once more while it ran
    std::optional<std::uint64_t> size_before;
    std::optional<std::uint64_t> size_after;
    std::string mount_point;  ///< where the archive's file system was mounted when it was queued
    nlohmann::json
        publication;  ///< publish::RecoveryRecord of the run under way, opaque here; null when there is none
    std::optional<JobProgress> progress;
    friend bool operator==(const Job&, const Job&) = default;
};

void to_json(nlohmann::json& out, const JobProgress& progress);
void from_json(const nlohmann::json& in, JobProgress& progress);

/// Absent optionals, a null publication and empty texts are left out.
void to_json(nlohmann::json& out, const Job& job);
/// Throws base::Error that names the field when one is missing, of a wrong type or out of range. Unknown
/// fields are ignored, so that an older daemon reads a newer spool.
void from_json(const nlohmann::json& in, Job& job);

}  // namespace vmad::api
