// A point in time as a command line spells it. Pure, but for the local time zone.
#pragma once

#include <cstdint>
#include <string>

namespace vmad::ctl {

/// Seconds since the epoch of "2026-01-31", "2026-01-31 12:00" or "2026-01-31 12:00:30", local time; or of
/// "7d", "12h", "30min", "90s" before `now`. Throws base::UsageError.
[[nodiscard]] std::int64_t since_time(const std::string& text, std::int64_t now);

}  // namespace vmad::ctl
