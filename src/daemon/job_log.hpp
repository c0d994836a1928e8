// The log's records about jobs. In the journal they carry the job in fields of their own (VMAD_JOB,
// VMAD_ARCHIVE, …), so that `journalctl VMAD_JOB=17` finds every one of them; elsewhere they are plain lines.
//
// Call after set_up_log(), in its thread. Nothing here throws.
#pragma once

#include <string>
#include <string_view>

#include "api/job.hpp"
#include "daemon/log.hpp"

namespace vmad::daemon {

/// The event that a job has come into its state. Call it once for each change of the state; `publishing` is
/// no event. systemd/vmad.catalog explains each event to the administrator.
void log_job(const api::Job& job) noexcept;

/// Anything else about a job: `text` is for people, in one line.
void log_about_job(const api::Job& job, LogLevel level, std::string_view text) noexcept;

/// A line that its worker wrote to stderr: a warning, unless it begins with the prefix of sd-daemon(3) for
/// information or for debugging.
void log_worker_line(const api::Job& job, std::string_view line) noexcept;

}  // namespace vmad::daemon
