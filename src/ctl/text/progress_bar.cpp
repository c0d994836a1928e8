#include "ctl/text/progress_bar.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "base/units.hpp"
#include "ctl/text/printable_text.hpp"

namespace vmad::ctl {
namespace {

constexpr auto kMinInterval = std::chrono::milliseconds(100);
constexpr std::size_t kMaxBarWidth = 40;
constexpr std::size_t kMinBarWidth = 5;
/// Too early a guess at the rest would only mislead.
constexpr double kSecondsToLearnRate = 2;

ProgressView view_of(std::string label, const base::Progress& progress, double elapsed_seconds) {
    ProgressView view{std::move(label), progress.done_bytes, progress.total_bytes, 0, {}};
    if (elapsed_seconds <= 0) return view;
    const auto rate = static_cast<double>(progress.done_bytes) / elapsed_seconds;
    view.bytes_per_second = static_cast<std::uint64_t>(rate);
    if (elapsed_seconds >= kSecondsToLearnRate && rate >= 1 && progress.total_bytes >= progress.done_bytes)
        view.remaining_seconds = static_cast<std::uint64_t>(
            static_cast<double>(progress.total_bytes - progress.done_bytes) / rate);
    return view;
}

}  // namespace

std::string progress_line(const ProgressView& view, std::size_t width) {
    std::string tail;
    if (view.bytes_per_second != 0) tail += " " + base::format_size(view.bytes_per_second) + "/s";
    if (view.remaining_seconds)
        tail +=
            fmt::format(", {} left", base::format_duration(std::chrono::seconds(*view.remaining_seconds)));
    // The last column stays free: some terminals begin a new line when it is filled.
    const auto limit = width - 1;
    if (view.total_bytes == 0)
        return shorten(fmt::format("{} {}{}", view.label, base::format_size(view.done_bytes), tail), limit);
    const auto done =
        std::min(1.0, static_cast<double>(view.done_bytes) / static_cast<double>(view.total_bytes));
    const auto head = fmt::format("{} {:3} %", view.label, static_cast<int>(done * 100));
    const auto used = text_width(head) + text_width(tail) + 3;  // a space and the brackets
    if (used + kMinBarWidth > limit) return shorten(head + tail, limit);
    const auto bar = std::min(kMaxBarWidth, limit - used);
    const auto filled = static_cast<std::size_t>(done * static_cast<double>(bar));
    return fmt::format("{} [{}{}]{}", head, std::string(filled, '#'), std::string(bar - filled, ' '), tail);
}

ProgressBar::~ProgressBar() {
    if (drawn_) console_.show_line({});
}

void ProgressBar::update(const base::Progress& progress) noexcept {
    if (!console_.shows_progress()) return;
    const auto now = Clock::now();
    if (stage_ != progress.stage) {
        stage_ = progress.stage;
        stage_begin_ = now;
    } else if (now - last_drawn_ < kMinInterval) {
        return;
    }
    drawn_ = true;
    last_drawn_ = now;
    const std::chrono::duration<double> elapsed = now - stage_begin_;
    console_.show_line(progress_line(
        view_of(label_.empty() ? to_string(*stage_) : label_, progress, elapsed.count()), console_.width()));
}

base::ProgressSink ProgressBar::sink() {
    return [this](const base::Progress& progress) { update(progress); };
}

}  // namespace vmad::ctl
