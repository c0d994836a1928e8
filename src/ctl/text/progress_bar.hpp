// One line at the bottom of a terminal that shows the progress of a long task, and goes away with it.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/progress_meter.hpp"
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

/// "VM 104 web  42 % [####      ] 1.3 of 3.7 GiB, 212 MiB/s, 1 min 3 s left", or less of it where `width` is
/// small: first the bar goes, then the bytes, then the end of the label.
[[nodiscard]] std::string progress_line(const ProgressView& view, std::size_t width);

/// "2 of 5: LABEL"; only the label where there is but one.
[[nodiscard]] std::string numbered_label(std::size_t number, std::size_t count, const std::string& label);

/// Shows how far a whole task is (base::ProgressMeter). Silent when there is no terminal.
class ProgressBar {
  public:
    /// Of a task with these stages. `console` outlives it.
    ProgressBar(Console& console, std::string label, std::vector<base::Stage> stages);
    ProgressBar(const ProgressBar&) = delete;
    ProgressBar& operator=(const ProgressBar&) = delete;
    /// Removes the line.
    ~ProgressBar();

    /// For the task; valid as long as this object. Empty when there is no terminal.
    [[nodiscard]] base::ProgressSink sink();

  private:
    void draw(const base::WholeProgress& progress) noexcept;

    Console& console_;
    std::string label_;
    bool drawn_ = false;
    base::ProgressMeter meter_;
};

/// A text in place of a bar, for a task that counts something else than bytes; redrawn not more than ten
/// times a second, and gone with this object.
class CountLine {
  public:
    /// `console` outlives it.
    explicit CountLine(Console& console) : console_(console) {}
    CountLine(const CountLine&) = delete;
    CountLine& operator=(const CountLine&) = delete;
    ~CountLine() { clear(); }

    void show(const std::string& text);
    void clear() noexcept;

  private:
    static constexpr std::chrono::steady_clock::time_point kNever{};

    Console& console_;
    std::chrono::steady_clock::time_point last_shown_ = kNever;
};

}  // namespace vmad::ctl
