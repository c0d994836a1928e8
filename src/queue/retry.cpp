#include "queue/retry.hpp"

#include <algorithm>

namespace vmad::queue {
namespace {

constexpr std::int64_t kMinute = 60;
constexpr std::int64_t kLongestTransientDelay = 60 * kMinute;
constexpr std::int64_t kLongestConditionDelay = 10 * kMinute;

}  // namespace

std::int64_t transient_delay(std::uint32_t tries) noexcept {
    std::int64_t delay = kMinute;
    for (std::uint32_t i = 1; i < tries && delay < kLongestTransientDelay; ++i) delay *= 2;
    return std::min(delay, kLongestTransientDelay);
}

// The time in the queue is durable already and doubles from look to look, so no counter needs to be kept.
std::int64_t condition_delay(std::int64_t seconds_in_queue) noexcept {
    return std::clamp(seconds_in_queue, kMinute, kLongestConditionDelay);
}

}  // namespace vmad::queue
