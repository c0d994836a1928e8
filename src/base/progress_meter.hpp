// How far a whole task is, verification included: one percentage, one rate and one time left, out of what its
// stages report.
//
// Stages are weighed by the bytes that they read: the source, then the copy, which counts as large as the
// source until its size is known. One that ends without a byte counts for nothing from then on. They may
// overlap. What comes out never falls back, and is the total once, at the end. Any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <vector>

#include "base/task.hpp"

namespace vmad::base {

struct WholeProgress {
    Stage stage = Stage::repacking;  ///< the first that has not ended; the last one at the end
    /// Of the archive, as if each of its bytes were done when all stages have dealt with it.
    std::uint64_t done_bytes = 0;
    std::uint64_t total_bytes = 0;       ///< the archive's size as it is stored; 0 when it is not known
    std::uint64_t bytes_per_second = 0;  ///< over the last seconds; 0 when it is not known
    std::optional<std::uint64_t> remaining_seconds;  ///< nothing when it is not known
};

/// 0 to 100, rounded down: 100 is the end. Nothing when the total is 0.
[[nodiscard]] std::optional<unsigned> percent_of(std::uint64_t done_bytes,
                                                 std::uint64_t total_bytes) noexcept;

class ProgressMeter {
  public:
    using Clock = std::chrono::steady_clock;
    using Report = std::function<void(const WholeProgress&)>;

    /// Of a task with these stages, in this order. `report` is called from one thread at a time: not more
    /// often than `interval` says, but at once when a stage or the whole ends; the total is reported once,
    /// and nothing after it.
    ProgressMeter(const std::vector<Stage>& stages, std::chrono::milliseconds interval, Report report);

    /// A stage has come so far. Passes on what the report throws. Stages that the task does not have are
    /// ignored.
    void update(const Progress& progress, Clock::time_point now = Clock::now());
    /// The same for a task; valid as long as this object.
    [[nodiscard]] ProgressSink sink();

  private:
    struct Sample {
        Clock::time_point time;
        std::uint64_t done_bytes;
    };

    [[nodiscard]] Stage current_stage() const noexcept;
    [[nodiscard]] bool has_ended() const noexcept;
    [[nodiscard]] std::uint64_t total_bytes() const noexcept;
    [[nodiscard]] double done_bytes() const noexcept;
    [[nodiscard]] WholeProgress measure(Clock::time_point now);

    std::chrono::milliseconds interval_;
    Report report_;
    std::mutex mutex_;
    std::vector<Progress> stages_;  ///< the last report of each
    std::optional<Stage> reported_stage_;
    bool reported_end_ = false;
    std::uint64_t done_bytes_ = 0;  ///< reported
    std::deque<Sample> samples_;    ///< of the last seconds, and one before
};

}  // namespace vmad::base
