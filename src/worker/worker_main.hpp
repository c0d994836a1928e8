// `vmad worker`: the child process that runs one job for the daemon and ends.
#pragma once

#include <sys/types.h>

namespace vmad::worker {

/// Runs the job that api::kWorkerOrderFd brings, no faster than api::kWorkerRateFd allows, and reports on
/// api::kWorkerEventFd. SIGTERM ends it early, and the death of `daemon` at once. Returns the exit code: 0
/// when a result was reported.
[[nodiscard]] int worker_main(pid_t daemon);

}  // namespace vmad::worker
