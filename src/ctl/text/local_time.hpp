// Points in time for people: in the local time zone, or relative to now.
#pragma once

#include <cstdint>
#include <string>

namespace vmad::ctl {

/// Seconds since the epoch.
[[nodiscard]] std::int64_t now();

/// ISO 8601, "2024-02-29T13:05:09+01:00"; "@N" for a second that no calendar reaches.
[[nodiscard]] std::string iso_local_time(std::uint64_t seconds_since_epoch);

/// "2024-02-29 13:05"; "@N" for a second that no calendar reaches.
[[nodiscard]] std::string minute_time(std::int64_t seconds_since_epoch);

/// "13:05:09"
[[nodiscard]] std::string clock_time(std::uint64_t seconds_since_epoch);

/// "27 Nov"; "27 Nov 2025" in another year than that of `now`. "@N" for a second that no calendar reaches.
[[nodiscard]] std::string day_text(std::int64_t seconds_since_epoch, std::int64_t now);

/// The begin of the day that is `days` after that of this second.
[[nodiscard]] std::int64_t day_begin(std::int64_t seconds_since_epoch, int days = 0);

/// "3 min ago", "in 2 h", "now".
[[nodiscard]] std::string relative_time(std::int64_t then, std::int64_t now);

/// "3 min ago, 2024-02-29T13:05:09+01:00"
[[nodiscard]] std::string relative_and_iso_time(std::int64_t then, std::int64_t now);

/// Seconds since the epoch of "2026-01-31", "2026-01-31 12:00" or "2026-01-31 12:00:30", local time; or that
/// long before `now`, as base::parse_duration() takes it with a unit: "7d", "1h30min". Throws
/// base::UsageError.
[[nodiscard]] std::int64_t since_time(const std::string& text, std::int64_t now);

}  // namespace vmad::ctl
