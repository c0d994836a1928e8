// Points in time for people, in the local time zone.
#pragma once

#include <cstdint>
#include <string>

namespace vmad::ctl {

/// ISO 8601, "2024-02-29T13:05:09+01:00"; "@N" for a second that no calendar reaches.
[[nodiscard]] std::string iso_local_time(std::uint64_t seconds_since_epoch);

/// "02-29 13:05", for tables of what happened lately.
[[nodiscard]] std::string short_local_time(std::uint64_t seconds_since_epoch);

}  // namespace vmad::ctl
