// Turns how far a task is into what a person wants to know: how fast, and how long still.
//
// The rate is that of the last seconds, so that a storage which slows down shows. One thread at a time.
#pragma once

#include <chrono>
#include <deque>
#include <optional>

#include "api/job.hpp"
#include "base/task.hpp"

namespace vmad::worker {

class ProgressMeter {
  public:
    using Clock = std::chrono::steady_clock;

    /// What to report, or nothing when the last report was only a moment ago.
    [[nodiscard]] std::optional<api::JobProgress> update(const base::Progress& progress,
                                                         Clock::time_point now);

  private:
    struct Sample {
        Clock::time_point time;
        std::uint64_t done_bytes;
    };
    std::optional<base::Stage> stage_;
    std::deque<Sample> samples_;  ///< of this stage, the last seconds
};

}  // namespace vmad::worker
