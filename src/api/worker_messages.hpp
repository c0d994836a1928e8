// The messages between the daemon and the worker of one job: lines of JSON over two pipes.
//
// daemon -> worker   one WorkerOrder; then kRecordedLine for each WorkerRecord
// worker -> daemon   any number of progress events, WorkerGuests and WorkerRecords, then one WorkerResult
//
// After a WorkerRecord the worker waits for kRecordedLine: what it does next can be undone after a crash
// only because the record is durable by then. Pure data, no thread rule.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "api/archive_record.hpp"
#include "api/job.hpp"
#include "base/limits.hpp"

namespace vmad::api {

struct WorkerOrder {
    Job job;  ///< its recovery record, if any, is of an interrupted run and comes first
    std::vector<std::string> directories;  ///< the archive must be below one of them
    std::string state_dir;
    bool recover_only = false;  ///< the job has failed for job.reason: only recover from its last run
    unsigned threads = 0;       ///< 0: as many as the worker finds fit
    std::uint64_t memory_bytes = 0;
    /// What the catalogue has of the archive of the job; none: nothing.
    std::optional<ArchiveRecord> known{};
    /// Paths of archives in the directory of this one: of those of the same guest that are in the catalogue
    /// the newest, newest first, and then failed ones. The result says which of them are gone.
    std::vector<std::string> known_beside{};
    bool share_blocks = false;  ///< where the file system can
    base::VerifySource verify_source = base::VerifySource::automatic;
    /// Should the worker die once more, the job has failed: it does no more than the archive needs.
    bool last_attempt = false;
    std::string spill_dir;
    int zstd_level = 0;
    std::optional<std::uint64_t> reserve_bytes;  ///< to be left free on the archive's file system; none: auto
    std::int64_t grace_period_seconds = 0;       ///< how long the old file is kept on a network file system
    friend bool operator==(const WorkerOrder&, const WorkerOrder&) = default;
};

/// How a run ended, and what becomes of the job.
struct WorkerResult {
    /// done, unchanged, vanished and failed: the job has ended. waiting: it runs again later, see
    /// `waiting_for`. queued: the worker was stopped by SIGTERM.
    JobState state = JobState::done;
    /// Of waiting, and only of that. retry: for a limited number of times. grace_period: the archive is
    /// canonical; a run retry_after_seconds later removes the old file. The others: without limit.
    std::optional<WaitReason> waiting_for{};
    std::string reason{};  ///< one sentence; of waiting and failed
    std::optional<std::uint64_t> size_before{};
    std::optional<std::uint64_t> size_after{};
    std::optional<std::int64_t> retry_after_seconds{};  ///< set when an earlier run is of no use
    std::string warning{};                              ///< something odd about the archive: one sentence
    bool damaged = false;                               ///< failed: the backup cannot be restored as it is
    /// Of failed: the version of the file that is at fault (publish::file_version()); empty when it is not.
    std::string refused_file{};
    /// Of waiting for space: what was found out by writing; `times` and `try_again_at` are the queue's.
    std::optional<SpaceRefusal> space_refusal{};
    std::vector<std::string> gone{};  ///< those of WorkerOrder::known_beside that are not there any more
    std::optional<NewSince> since{};
    std::optional<std::uint64_t> shared_bytes{};
    std::vector<DamagedPlace> damage{};  ///< of a verify job that failed, at most kMaxDamagedPlaces
    /// What is known of the archive now, as it was published, verified or found damaged. What the job knows
    /// (storage, vmid, guest) may be left out.
    std::optional<ArchiveRecord> record{};
    bool cleaned_up = false;  ///< nothing of a replacement is left: its record may be forgotten
    friend bool operator==(const WorkerResult&, const WorkerResult&) = default;
};

/// Shortens what names in the archive make long, so that the result fits a message.
void bound(WorkerResult& result);

/// The worker is about to give its copy a name (running), or to swap it in (publishing).
struct WorkerRecord {
    JobState state = JobState::running;
    std::string recovery;  ///< publish::RecoveryRecord as JSON text
    friend bool operator==(const WorkerRecord&, const WorkerRecord&) = default;
};

/// The name of the guest, from its config in the archive.
struct WorkerGuest {
    std::string name;
    friend bool operator==(const WorkerGuest&, const WorkerGuest&) = default;
};

using WorkerEvent = std::variant<JobProgress, WorkerRecord, WorkerResult, WorkerGuest>;

/// Where the worker finds its two pipes when it starts.
inline constexpr int kWorkerOrderFd = 3;
inline constexpr int kWorkerEventFd = 4;
/// Where it finds the rate that all workers share (io/rate_limit.hpp).
inline constexpr int kWorkerRateFd = 5;

/// Says that the last WorkerRecord is durable.
inline constexpr std::string_view kRecordedLine = "\"recorded\"\n";

/// One line with its '\n'. Throws varlink::ProtocolError when it is longer than varlink::kMaxMessageBytes.
[[nodiscard]] std::string to_line(const WorkerOrder& order);
[[nodiscard]] std::string to_line(const WorkerEvent& event);

/// Take a line without its '\n', as varlink::MessageSplitter('\n') gives it. Both throw base::Error that
/// names the field which is missing, unknown, of a wrong type or out of range.
[[nodiscard]] WorkerOrder worker_order_from_line(std::string_view line);
[[nodiscard]] WorkerEvent worker_event_from_line(std::string_view line);

}  // namespace vmad::api
