// The state of the daemon for monitoring systems, by the guidelines for Nagios plugins. Pure.
#pragma once

#include <cstdint>
#include <string>

#include "api/status.hpp"
#include "ctl/failure.hpp"

namespace vmad::ctl {

/// The values are the exit codes of a plugin.
enum class CheckResult { ok = 0, warning = 1, critical = 2, unknown = 3 };

struct Check {
    CheckResult result = CheckResult::unknown;
    std::string line;  ///< "VMAD OK - 3 queued | queued=3;;;0 …\n"
};

/// An unfinished job that was queued longer ago than this is worth a warning.
inline constexpr std::int64_t kOldJobSeconds = std::int64_t{24} * 60 * 60;

[[nodiscard]] Check check_of(const api::Status& status, std::int64_t now);
/// When the status could not be read.
[[nodiscard]] Check check_of(const Failure& failure);

}  // namespace vmad::ctl
