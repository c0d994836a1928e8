// The log of the daemon: to the journal with priorities when stderr is the journal, else to stderr as plain
// lines. The one face of spdlog, whose headers are slow to compile. Call from one thread; nothing here throws
// once the log is set up: a log that cannot be written stops nobody.
#pragma once

#include <string_view>

namespace vmad::daemon {

/// What the records of the log are tagged with.
inline constexpr char kSyslogIdentifier[] = "vmad";

enum class LogLevel { debug, info, warning, error };

/// Sets the log up for this process. Call it once, before anything is logged.
void set_up_log();

/// True when stderr is a stream to the journal, as it is for a service of systemd's.
[[nodiscard]] bool logs_to_journal();

/// One record: "WHAT", or "WHAT: WHY".
void log(LogLevel level, std::string_view what) noexcept;
void log_info(std::string_view what) noexcept;
void log_warning(std::string_view what) noexcept;
void log_warning(std::string_view what, std::string_view why) noexcept;
void log_error(std::string_view what) noexcept;
void log_error(std::string_view what, std::string_view why) noexcept;

}  // namespace vmad::daemon
