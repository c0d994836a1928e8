// One line at the bottom of a terminal that shows the progress of a long task, and goes away with it.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "base/task.hpp"
#include "ctl/text/console.hpp"

namespace vmad::ctl {

/// What the line shows.
struct ProgressView {
    std::string label;
    std::uint64_t done_bytes = 0;
    std::uint64_t total_bytes = 0;                   ///< 0 when it is not known
    std::uint64_t bytes_per_second = 0;              ///< 0 when it is not known
    std::optional<std::uint64_t> remaining_seconds;  ///< nothing when it is not known
};

/// "verifying  42 % [####      ] 212 MiB/s, 1 min 3 s left", or less of it where `width` is small.
[[nodiscard]] std::string progress_line(const ProgressView& view, std::size_t width);

/// Silent when there is no terminal. One thread at a time.
class ProgressBar {
  public:
    /// `console` outlives it. An empty label means the name of the stage.
    explicit ProgressBar(Console& console, std::string label = {})
        : console_(console), label_(std::move(label)) {}
    ProgressBar(const ProgressBar&) = delete;
    ProgressBar& operator=(const ProgressBar&) = delete;
    /// Removes the line.
    ~ProgressBar();

    /// Redraws the line, but in one stage not more than ten times a second.
    void update(const base::Progress& progress) noexcept;
    /// The same for the engine; valid as long as this object.
    [[nodiscard]] base::ProgressSink sink();

  private:
    using Clock = std::chrono::steady_clock;

    Console& console_;
    std::string label_;
    std::optional<base::Stage> stage_;
    Clock::time_point stage_begin_;
    Clock::time_point last_drawn_;
    bool drawn_ = false;
};

}  // namespace vmad::ctl
