// `vmad worker`: the child process that runs one job for the daemon and ends.
#pragma once

#include <sys/types.h>

namespace vmad::worker {

/// Descriptors that the daemon gives to its worker.
inline constexpr int kOrderFd = 3;
inline constexpr int kEventFd = 4;

/// Runs the job that `kOrderFd` brings and reports on `kEventFd`. SIGTERM ends it early, and the death of
/// `daemon` at once. Returns the exit code: 0 when a result was reported.
[[nodiscard]] int worker_main(pid_t daemon);

}  // namespace vmad::worker
