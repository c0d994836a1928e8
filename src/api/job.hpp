// A job: one archive on its way through the queue, and its one JSON form.
//
// The same form is kept in the spool, sent over the socket and printed by --json; org.vmad.Queue.varlink is
// its schema. Pure data, no thread rule.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace vmad::api {

enum class JobKind {
    repack,  ///< makes the archive canonical, in place
    verify,  ///< reads it and says whether it is good; changes nothing
};
inline constexpr std::array<const char*, 2> kJobKindNames{"repack", "verify"};
[[nodiscard]] const char* to_string(JobKind kind) noexcept;

enum class JobState {
    queued,      ///< starts as soon as a worker and its file system are free
    running,     ///< a worker repacks and verifies the archive, or only verifies it
    publishing,  ///< the verified copy is being swapped in
    waiting,     ///< for a condition, or until `retry_at`; see `waiting_for` and `reason`
    done,        ///< the archive is canonical now; of a verify job: it is good
    unchanged,   ///< it was canonical already
    vanished,    ///< it was removed, for example pruned
    failed,      ///< see `reason`; the archive is as it was
    cancelled,   ///< by the administrator; or it had failed, and a later job has superseded that
};

inline constexpr std::array<const char*, 9> kJobStateNames{
    "queued", "running", "publishing", "waiting", "done", "unchanged", "vanished", "failed", "cancelled"};

/// "queued", "running", …
[[nodiscard]] const char* to_string(JobState state) noexcept;
/// Throws base::Error for a name that is not one of the states.
[[nodiscard]] JobState job_state_from_string(const std::string& name);
/// True for the states that a job never leaves on its own: done, unchanged, vanished, failed, cancelled.
[[nodiscard]] bool is_final(JobState state) noexcept;

/// What a waiting job waits for.
enum class WaitReason {
    retry,         ///< a transient error to be gone
    space,         ///< room for the copy
    storage,       ///< the file system to be mounted and to answer
    locked,        ///< another process to finish its work on the archive, or to close it
    too_recent,    ///< the last modification to be a minute ago
    grace_period,  ///< the archive is canonical already; the old file is kept for readers on other nodes
};
inline constexpr std::array<const char*, 6> kWaitReasonNames{"retry",  "space",      "storage",
                                                             "locked", "too_recent", "grace_period"};
[[nodiscard]] const char* to_string(WaitReason reason) noexcept;

/// How far a running job is as a whole, verification included (base::WholeProgress). Not kept in the spool.
struct JobProgress {
    std::string stage;  ///< "repacking", "verifying", "checking" (its source once more) or "sharing"
    std::uint64_t done_bytes = 0;
    std::uint64_t total_bytes = 0;                   ///< the size of the archive
    std::uint64_t bytes_per_second = 0;              ///< over the last seconds; 0 when not known yet
    std::optional<std::uint64_t> remaining_seconds;  ///< of the job
    friend bool operator==(const JobProgress&, const JobProgress&) = default;
};

/// How a file system had no room for a copy that it seemed to have room for.
struct SpaceRefusal {
    std::string directory;  ///< on the file system that refused
    std::optional<std::uint64_t>
        free_bytes;                   ///< shown as free there, the copy not counted; none: it shows none
    std::uint64_t written_bytes = 0;  ///< of the copy, when it was refused
    std::uint32_t times = 0;          ///< in a row, this one included
    std::int64_t try_again_at = 0;    ///< also when no more is free by then
    friend bool operator==(const SpaceRefusal&, const SpaceRefusal&) = default;
};

/// A run of neighbouring regions of a disk that the backup before does not have.
struct NewStretch {
    std::uint64_t offset = 0;     ///< in the disk
    std::uint64_t bytes = 0;      ///< of the disk
    std::uint64_t new_bytes = 0;  ///< of the archive file
    std::string partition{};      ///< where it begins: "2 (ext4)", for example; or empty
    friend bool operator==(const NewStretch&, const NewStretch&) = default;
};

struct DiskGrowth {
    std::string disk;                     ///< as the archive names it: "drive-scsi0"
    std::uint64_t bytes = 0;              ///< size of the disk
    std::uint64_t new_bytes = 0;          ///< of the archive file
    std::optional<NewStretch> largest{};  ///< the one that most of the new bytes come from
    friend bool operator==(const DiskGrowth&, const DiskGrowth&) = default;
};
/// In a NewSince, at most.
inline constexpr std::size_t kMaxDiskGrowths = 64;

/// What of an archive its guest's backup before does not have.
struct NewSince {
    std::string archive;          ///< file name of that backup: the newest earlier one in the directory
    std::int64_t archive_at = 0;  ///< when it was made, by its name
    std::uint64_t new_bytes = 0;  ///< of size_after
    std::vector<DiskGrowth> disks{};
    friend bool operator==(const NewSince&, const NewSince&) = default;
};

/// A part of an archive that cannot be read as it was written.
struct DamagedPlace {
    std::string disk;          ///< as the archive names it; empty: the archive's header
    std::uint64_t offset = 0;  ///< in the disk
    std::uint64_t bytes = 0;
    std::string partition{};  ///< as in NewStretch
    friend bool operator==(const DamagedPlace&, const DamagedPlace&) = default;
};
/// In a job, at most; more are only counted in its reason.
inline constexpr std::size_t kMaxDamagedPlaces = 20;

/// Times are seconds since the epoch (UTC); sizes are bytes.
struct Job {
    std::uint64_t id = 0;  ///< from 1, never used twice
    std::string path;      ///< absolute, UTF-8
    JobKind kind = JobKind::repack;
    JobState state = JobState::queued;
    /// Of waiting and failed jobs, or why it will have failed once recovered, or why a failure no longer
    /// counts: one sentence.
    std::string reason;
    bool damaged = false;                   ///< failed: the backup cannot be restored as it is
    std::optional<WaitReason> waiting_for;  ///< of a waiting job
    std::string warning;                    ///< what the last run found odd about the archive: one sentence
    std::string storage;                    ///< Proxmox's name of the storage, where the caller named it
    std::optional<std::uint64_t> vmid;      ///< from the archive's name
    std::string guest;                      ///< its name, from the config in the archive, once that was read
    bool announced = false;                 ///< a hook named it as finished: no minimum age
    std::int64_t queued_at = 0;
    std::optional<std::int64_t> started_at;  ///< of the last run
    std::optional<std::int64_t> ended_at;
    std::optional<std::uint64_t> end_number;  ///< jobs that end are numbered from 1: each is counted once
    std::optional<std::int64_t> retry_at;     ///< waiting: not before this time
    std::uint32_t attempts = 0;               ///< workers started since one last reported a result
    std::uint32_t failed_attempts = 0;        ///< transient errors in a row
    /// Failed or cancelled: the final state of the job once a worker has recovered from its last run.
    std::optional<JobState> state_after_recovery;
    bool run_again = false;  ///< it was queued once more while it ran
    /// Of a failed job whose archive is at fault: which version of the file (publish::file_version()), so
    /// that a scan does not queue the same once more. Or empty.
    std::string refused_file;
    std::optional<SpaceRefusal> space_refusal;  ///< what the last attempt found out about the room
    std::optional<std::uint64_t> size_before;
    std::optional<std::uint64_t> size_after;    ///< of a verify job, both are the archive's size
    std::optional<NewSince> since;              ///< of a done or unchanged job, where it was found out
    std::optional<std::uint64_t> shared_bytes;  ///< of size_after: in blocks shared with the backup before
    std::vector<DamagedPlace> damage;           ///< of a verify job that failed; the first ones
    std::optional<std::int64_t> last_good_at;   ///< the same: when the archive was last found good
    std::string mount_point;  ///< where the archive's file system was mounted when it was queued
    std::string recovery;     ///< publish::RecoveryRecord of the run under way as JSON text; or empty
    std::optional<JobProgress> progress;
    bool paused = false;  ///< its worker stands still: a repack runs on the file system. Not in the spool
    friend bool operator==(const Job&, const Job&) = default;
};

void to_json(nlohmann::json& out, const NewSince& since);
void from_json(const nlohmann::json& in, NewSince& since);
void to_json(nlohmann::json& out, const DamagedPlace& place);
void from_json(const nlohmann::json& in, DamagedPlace& place);
void to_json(nlohmann::json& out, const SpaceRefusal& refusal);
void from_json(const nlohmann::json& in, SpaceRefusal& refusal);
void to_json(nlohmann::json& out, const JobProgress& progress);
void from_json(const nlohmann::json& in, JobProgress& progress);

/// Absent optionals and empty strings are left out.
void to_json(nlohmann::json& out, const Job& job);
/// The same on one line with its '\n'; bytes that are not UTF-8 are replaced.
[[nodiscard]] std::string to_line(const Job& job);
/// Throws base::Error that names the field when one is missing, of a wrong type or out of range. Unknown
/// fields are ignored, so that an older daemon reads a newer spool.
void from_json(const nlohmann::json& in, Job& job);

}  // namespace vmad::api
