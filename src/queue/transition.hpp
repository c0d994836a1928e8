// What a move from one state to the next does to the fields of a job, and when a job runs again. Pure; which
// moves there are, and that they are durable, is the business of queue/queue.hpp.
#pragma once

#include <cstdint>
#include <string>

#include "api/job.hpp"
#include "api/worker_messages.hpp"

namespace vmad::queue {

/// Transient failures in a row after which a job has failed.
inline constexpr std::uint32_t kMostFailedAttempts = 8;
/// Starts without a report from the worker after which its death fails the job.
inline constexpr std::uint32_t kMostAttempts = 3;

/// Seconds to wait after `tries` transient failures in a row (from 1): 1 min, doubling up to 1 h.
[[nodiscard]] std::int64_t transient_delay(std::uint32_t tries) noexcept;

/// Seconds until a job that lacks space or storage, or whose archive is busy, is looked at again: as long
/// again as it has been in the queue, but 1 min at least and 10 min at most.
[[nodiscard]] std::int64_t condition_delay(std::int64_t seconds_in_queue) noexcept;

/// Seconds after which a copy that the file system refused room for the `times`-th time in a row (from 1) is
/// written once more although no more is free: 1 h, doubling up to a day. Each such attempt may fill a disk
/// of a pool.
[[nodiscard]] std::int64_t space_refusal_delay(std::uint32_t times) noexcept;

/// Running or publishing: there is a worker.
[[nodiscard]] bool is_running(const api::Job& job);

/// The job has failed or was cancelled, and its next or present run only recovers from the last one.
[[nodiscard]] bool only_recovers(const api::Job& job);

/// Back into the queue, with its counts. The next run reads the file afresh, so it is also the one that was
/// asked for while the last one went on.
void queue_again(api::Job& job);
/// Into the queue as if it had never been tried; its recovery record is kept.
void queue_anew(api::Job& job, std::int64_t now);
/// Ends it as cancelled; at once, or after a run that only recovers from the last one. `run_again`: it
/// was queued once more since the run began that is given up.
void give_up(api::Job& job, bool run_again, std::int64_t now);
void end_as(api::Job& job, api::JobState state, std::int64_t now, const std::string& reason = "");

/// A worker is about to start on the job.
void begin_run(api::Job& job, std::int64_t now);
/// The worker of a running job reported a result; see Queue::finish.
void apply_result(api::Job& job, const api::WorkerResult& result, std::int64_t now);
/// The worker of a running job ended without one; see Queue::worker_died.
void apply_death(api::Job& job, const std::string& how, std::int64_t now);

}  // namespace vmad::queue
