// When a job that did not come to its end is tried again. Pure arithmetic, any thread.
#pragma once

#include <cstdint>

namespace vmad::queue {

/// Transient failures in a row after which a job has failed.
inline constexpr std::uint32_t kMostFailedAttempts = 8;
/// Starts without a report from the worker after which its death fails the job.
inline constexpr std::uint32_t kMostAttempts = 3;

/// Seconds to wait after `tries` transient failures in a row (from 1): 1 min, doubling up to 1 h.
[[nodiscard]] std::int64_t transient_delay(std::uint32_t tries) noexcept;

/// Seconds until a job that lacks space or storage, or whose archive is busy, is looked at again: as long
/// again as it has been in the queue, but 1 min at least and 10 min at most.
[[nodiscard]] std::int64_t condition_delay(std::int64_t seconds_in_queue) noexcept;

}  // namespace vmad::queue
