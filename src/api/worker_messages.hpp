// What the daemon and the worker of one job tell each other: lines of JSON over two pipes.
//
// daemon -> worker   one WorkerOrder; then kRecordedLine for each WorkerPublication
// worker -> daemon   any number of progress and publication events, then one WorkerResult
//
// After a WorkerPublication the worker waits for kRecordedLine: what it does next can be undone after a crash
// only because the record is durable by then. Pure data, no thread rule.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <nlohmann/json.hpp>

#include "api/job.hpp"

namespace vmad::api {

struct WorkerOrder {
    Job job;  ///< its publication, if any, is of an interrupted run and comes first
    std::vector<std::string> directories;  ///< the archive must be below one of them
    std::string state_dir;
    bool settle_only = false;  ///< the job has failed for job.reason: only settle its publication
    unsigned threads = 0;      ///< 0: as many as the worker finds fit
    std::uint64_t memory_bytes = 0;
    std::string spill_dir;
    int zstd_level = 0;
    std::optional<std::uint64_t> reserve_bytes;  ///< to be left free on the archive's file system; none: auto
    std::int64_t linger_seconds = 0;             ///< how long the old file is kept on a network file system
    friend bool operator==(const WorkerOrder&, const WorkerOrder&) = default;
};

enum class WorkerOutcome {
    done,        ///< end: the archive is canonical now
    unchanged,   ///< end: it was canonical already
    vanished,    ///< end: it was removed or replaced by nothing
    failed,      ///< end: damaged, unsupported or refused; the archive is as it was
    transient,   ///< EIO, ESTALE, changed while reading: again later, a limited number of times
    no_space,    ///< waits until the file system has room, without limit
    no_storage,  ///< waits until the file system is mounted and answers, without limit
    busy,        ///< waits until another process lets go of the archive, without limit
    lingering,   ///< the archive is canonical, the old file is kept: settled by a run retry_after_seconds
                 ///< later
    cancelled,   ///< SIGTERM came first: queued again, unless the administrator cancelled it
};
inline constexpr std::array<const char*, 10> kWorkerOutcomeNames{
    "done",     "unchanged",  "vanished", "failed",    "transient",
    "no_space", "no_storage", "busy",     "lingering", "cancelled"};
[[nodiscard]] const char* to_string(WorkerOutcome outcome) noexcept;

struct WorkerResult {
    WorkerOutcome outcome = WorkerOutcome::done;
    std::string reason;  ///< one sentence; empty for done, unchanged and cancelled
    std::optional<std::uint64_t> size_before{};
    std::optional<std::uint64_t> size_after{};
    std::optional<std::int64_t> retry_after_seconds{};  ///< known when it is of no use to look earlier
    std::string notice{};                               ///< something odd about the archive: one sentence
    bool settled = false;  ///< nothing is left of any publication: its record may be forgotten
    friend bool operator==(const WorkerResult&, const WorkerResult&) = default;
};

/// The worker is about to give its copy a name, or to swap it in.
struct WorkerPublication {
    nlohmann::json record;  ///< publish::RecoveryRecord, opaque here; an object
    friend bool operator==(const WorkerPublication&, const WorkerPublication&) = default;
};

using WorkerEvent = std::variant<JobProgress, WorkerPublication, WorkerResult>;

/// Where the worker finds its two pipes when it starts.
inline constexpr int kWorkerOrderFd = 3;
inline constexpr int kWorkerEventFd = 4;
/// Where it finds the rate that all workers share (io/rate_limit.hpp).
inline constexpr int kWorkerRateFd = 5;

/// Says that the last WorkerPublication is durable.
inline constexpr std::string_view kRecordedLine = "\"recorded\"\n";

/// One line with its '\n'. Throws varlink::ProtocolError when it is longer than varlink::kMaxMessageBytes.
[[nodiscard]] std::string to_line(const WorkerOrder& order);
[[nodiscard]] std::string to_line(const WorkerEvent& event);

/// Take a line without its '\n', as varlink::MessageSplitter('\n') gives it. Both throw base::Error that
/// names the field which is missing, unknown, of a wrong type or out of range.
[[nodiscard]] WorkerOrder worker_order_from_line(std::string_view line);
[[nodiscard]] WorkerEvent worker_event_from_line(std::string_view line);

}  // namespace vmad::api
