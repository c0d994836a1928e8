// Where the log of the daemon goes: to the journal with priorities and fields when stderr is the journal,
// else to stderr as plain lines. Call from one thread.
#pragma once

namespace vmad::daemon {

/// What the records of the log are tagged with.
inline constexpr char kSyslogIdentifier[] = "vmad";

/// Sets spdlog up for this process. Call it once, before anything is logged.
void set_up_log();

/// True when stderr is a stream to the journal, as it is for a service of systemd's.
[[nodiscard]] bool logs_to_journal();

}  // namespace vmad::daemon
