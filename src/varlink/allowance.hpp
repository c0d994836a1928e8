// How much of the loop's time a client may take before the others go first.
//
// A bucket that fills with the time spent on the client and leaks at a steady rate: bursts are free, a flood
// is not. Pure: it asks no clock.
#pragma once

#include <algorithm>
#include <chrono>

namespace vmad::varlink {

/// The time in each second that a client may take. Some hundred small calls, or one with thousands of ids.
inline constexpr std::chrono::microseconds kAllowance = std::chrono::milliseconds(5);
/// Whatever a client did, after this time of quiet it has its whole allowance again.
inline constexpr std::chrono::seconds kForgiveness{2};

class Allowance {
  public:
    using Clock = std::chrono::steady_clock;

    /// The loop was busy with the client from `begin` to `end`; calls come in the order of time.
    void spend(Clock::time_point begin, Clock::time_point end) noexcept {
        constexpr int kLeak = std::chrono::seconds(1) / kAllowance;
        const auto left = std::max(spent_ - (begin - last_end_) / kLeak, Clock::duration::zero());
        spent_ = std::min(left + (end - begin), kMost);
        last_end_ = end;
    }
    /// True when the client took more than its share until the end of the last spend().
    [[nodiscard]] bool exceeded() const noexcept { return spent_ > kAllowance; }

  private:
    /// No more is held against a client, so that it is forgiven in time.
    static constexpr Clock::duration kMost = kForgiveness.count() * kAllowance;

    Clock::time_point last_end_ = Clock::now();
    Clock::duration spent_ = Clock::duration::zero();
};

}  // namespace vmad::varlink
