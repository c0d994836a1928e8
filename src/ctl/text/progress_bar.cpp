#include "ctl/text/progress_bar.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "base/units.hpp"
#include "ctl/text/printable_text.hpp"

namespace vmad::ctl {
namespace {

constexpr std::chrono::milliseconds kInterval{100};
constexpr std::size_t kMaxBarWidth = 40;
constexpr std::size_t kMinBarWidth = 5;
/// A label that is cut still tells something when it has this many columns.
constexpr std::size_t kMinLabelWidth = 12;

/// "212 MiB/s, 1 min 3 s left", as far as it is known.
std::string speed_text(const ProgressView& view) {
    std::vector<std::string> parts;
    if (view.bytes_per_second != 0) parts.push_back(base::format_size(view.bytes_per_second) + "/s");
    if (view.remaining_seconds)
        parts.push_back(base::format_duration(std::chrono::seconds(*view.remaining_seconds)) + " left");
    return fmt::format("{}", fmt::join(parts, ", "));
}

std::string bar_text(const ProgressView& view, std::size_t width) {
    const auto done =
        std::min(1.0, static_cast<double>(view.done_bytes) / static_cast<double>(view.total_bytes));
    const auto filled = static_cast<std::size_t>(done * static_cast<double>(width));
    return fmt::format(" [{}{}]", std::string(filled, '#'), std::string(width - filled, ' '));
}

}  // namespace

std::string progress_line(const ProgressView& view, std::size_t width) {
    const auto percent = base::percent_of(view.done_bytes, view.total_bytes);
    const auto head = percent ? fmt::format(" {:3} %", *percent) : "";
    const auto speed = speed_text(view);
    auto tail = " " + (percent ? base::format_part(view.done_bytes, view.total_bytes)
                               : base::format_size(view.done_bytes));
    if (!speed.empty()) tail += ", " + speed;
    // The last column stays free: some terminals begin a new line when it is filled.
    const auto limit = width - 1;
    const auto label_width = text_width(view.label);
    const auto used = [&] { return text_width(head) + text_width(tail); };
    if (const auto left = limit - std::min(limit, label_width + used() + 3); percent && left >= kMinBarWidth)
        return view.label + head + bar_text(view, std::min(kMaxBarWidth, left)) + tail;
    if (percent && label_width + used() > limit) tail = speed.empty() ? "" : " " + speed;
    const auto room = std::max(limit - std::min(limit, used()), kMinLabelWidth);
    return cut(cut(view.label, room) + head + tail, limit);
}

std::string numbered_label(std::size_t number, std::size_t count, const std::string& label) {
    return count < 2 ? label : fmt::format("{} of {}: {}", number, count, label);
}

ProgressBar::ProgressBar(Console& console, std::string label, std::vector<base::Stage> stages)
    : console_(console),
      label_(std::move(label)),
      meter_(std::move(stages), kInterval, [this](const auto& now) { draw(now); }) {}

ProgressBar::~ProgressBar() {
    if (drawn_) console_.show_line({});
}

void ProgressBar::draw(const base::WholeProgress& progress) noexcept {
    drawn_ = true;
    console_.show_line(progress_line({.label = label_,
                                      .done_bytes = progress.done_bytes,
                                      .total_bytes = progress.total_bytes,
                                      .bytes_per_second = progress.bytes_per_second,
                                      .remaining_seconds = progress.remaining_seconds},
                                     console_.width()));
}

base::ProgressSink ProgressBar::sink() { return console_.shows_progress() ? meter_.sink() : nullptr; }

void CountLine::show(const std::string& text) {
    const auto now = std::chrono::steady_clock::now();
    if (!console_.shows_progress() || now - last_shown_ < std::chrono::milliseconds(100)) return;
    last_shown_ = now;
    console_.show_line(text);
}

void CountLine::clear() noexcept {
    if (last_shown_ != kNever) console_.show_line({});
    last_shown_ = kNever;
}

}  // namespace vmad::ctl
