// Runs one job: recovers from an interrupted run, repacks the archive in place, and reports the result.
#pragma once

#include <functional>

#include "api/worker_messages.hpp"
#include "base/task.hpp"
#include "io/file_system.hpp"

namespace vmad::worker {

/// What a job reports while it runs.
struct JobReports {
    /// Makes the record of a replacement durable before it returns.
    std::function<void(const api::WorkerRecord&)> record;
    /// From one thread at a time, some times a second.
    std::function<void(const api::JobProgress&)> progress;
    /// The name of the guest, as its config in the archive has it. May be empty, as the function.
    std::function<void(const std::string&)> guest{};
    /// A decision that belongs into the job's log: one sentence without a full stop. May be empty.
    std::function<void(const std::string&)> log{};
    /// The same of what only developers ask for.
    std::function<void(const std::string&)> debug{};
};

/// Never throws for what is wrong with an archive or a storage: that is the result. What the reports throw
/// and is no base::Error, DaemonGone above all, is passed on.
[[nodiscard]] api::WorkerResult run_job(io::FileSystem& fs, const api::WorkerOrder& order,
                                        const base::CancelFlag& cancel, const JobReports& reports);

}  // namespace vmad::worker
