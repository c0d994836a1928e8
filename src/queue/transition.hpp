// What a move from one state to the next does to the fields of a job. Pure; which moves there are, and that
// they are durable, is the business of queue/queue.hpp.
#pragma once

#include <cstdint>
#include <string>

#include "api/job.hpp"
#include "api/worker_messages.hpp"

namespace vmad::queue {

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
