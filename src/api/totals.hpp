// What all jobs that ever ended come to, those too that are forgotten by now, and its one JSON form. Pure
// data, no thread rule.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include <nlohmann/json_fwd.hpp>

#include "api/job.hpp"

namespace vmad::api {

/// Upper limits of the classes of durations, in seconds; what takes longer is in one more class.
inline constexpr std::array<std::int64_t, 9> kDurationLimits{1, 10, 60, 300, 900, 1800, 3600, 10800, 36000};

struct Totals {
    // Jobs by their end.
    std::uint64_t done = 0;
    std::uint64_t unchanged = 0;
    std::uint64_t vanished = 0;
    std::uint64_t failed = 0;
    std::uint64_t cancelled = 0;
    // Of the jobs that were done: sizes of their archives.
    std::uint64_t bytes_before = 0;
    std::uint64_t bytes_after = 0;
    /// Of the jobs that were done, by how long their last run took; not cumulative.
    std::array<std::uint64_t, kDurationLimits.size() + 1> durations{};
    std::uint64_t duration_seconds = 0;           ///< their sum
    std::optional<std::int64_t> last_success_at;  ///< done or unchanged; seconds since the epoch
    std::optional<std::int64_t> last_failure_at;
    std::uint64_t counted = 0;  ///< the highest Job::end_number that is in here

    /// Counts a job that has ended, unless it is in here already.
    void add(const Job& ended);
    friend bool operator==(const Totals&, const Totals&) = default;
};

/// Reading throws base::Error that names the field; unknown fields are ignored.
void to_json(nlohmann::json& out, const Totals& totals);
void from_json(const nlohmann::json& in, Totals& totals);

}  // namespace vmad::api
