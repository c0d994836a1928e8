#include "base/progress_meter.hpp"

#include <algorithm>
#include <cmath>

namespace vmad::base {
namespace {

constexpr std::chrono::duration<double> kRateOver{10};
/// Too early a guess at the rest would only mislead.
constexpr std::chrono::duration<double> kTimeToLearnRate{2};
/// What would take longer stands still, as far as anybody can tell.
constexpr double kLongestRemainingSeconds = 30 * 24 * 3600;

}  // namespace

std::optional<unsigned> percent_of(std::uint64_t done_bytes, std::uint64_t total_bytes) noexcept {
    if (total_bytes == 0) return std::nullopt;
    if (done_bytes >= total_bytes) return 100;
    const auto part = static_cast<double>(done_bytes) / static_cast<double>(total_bytes);
    return std::min(static_cast<unsigned>(part * 100), 99U);
}

ProgressMeter::ProgressMeter(const std::vector<Stage>& stages, std::chrono::milliseconds interval,
                             Report report)
    : interval_(interval), report_(std::move(report)) {
    for (const auto stage : stages) stages_.push_back({.stage = stage});
}

bool ProgressMeter::has_ended() const noexcept {
    return std::all_of(stages_.begin(), stages_.end(), [](const Progress& stage) { return stage.ended; });
}

Stage ProgressMeter::current_stage() const noexcept {
    const auto open =
        std::find_if(stages_.begin(), stages_.end(), [](const Progress& stage) { return !stage.ended; });
    return open != stages_.end() ? open->stage : stages_.back().stage;
}

/// What the first stage reads is what the whole is about.
std::uint64_t ProgressMeter::total_bytes() const noexcept { return stages_.front().total_bytes; }

/// Of the total, or of what has been read while that is not known.
double ProgressMeter::done_bytes() const noexcept {
    const auto& first = stages_.front();
    const auto size = static_cast<double>(first.total_bytes != 0 ? first.total_bytes : first.done_bytes);
    if (size <= 0) return 0;
    double done = 0;
    double whole = 0;
    // No stage can be further than the one before it.
    double part_before = 1;
    for (const auto& stage : stages_) {
        if (stage.ended && stage.total_bytes == 0) continue;
        const auto weight = stage.total_bytes != 0 ? static_cast<double>(stage.total_bytes) : size;
        part_before = std::min(static_cast<double>(stage.done_bytes) / weight, part_before);
        done += part_before * weight;
        whole += weight;
    }
    return size * done / whole;
}

WholeProgress ProgressMeter::measure(Clock::time_point now) {
    const auto size = total_bytes();
    auto done = std::max(done_bytes_, static_cast<std::uint64_t>(done_bytes()));
    const auto most = std::max<std::uint64_t>(size > 0 ? size : stages_.front().done_bytes, 1);
    done = has_ended() ? size : std::min(done, most - 1);
    done_bytes_ = done;
    WholeProgress result{
        .stage = current_stage(), .done_bytes = done, .total_bytes = size, .remaining_seconds = {}};

    samples_.push_back({now, done});
    while (samples_.size() > 2 && samples_[1].time + kRateOver < now) samples_.pop_front();
    const std::chrono::duration<double> elapsed = now - samples_.front().time;
    if (elapsed.count() <= 0) return result;
    const auto rate = static_cast<double>(done - samples_.front().done_bytes) / elapsed.count();
    result.bytes_per_second = static_cast<std::uint64_t>(rate);
    const auto remaining = rate > 0 ? static_cast<double>(size - done) / rate : kLongestRemainingSeconds;
    if (size > 0 && elapsed >= kTimeToLearnRate && remaining < kLongestRemainingSeconds)
        result.remaining_seconds = static_cast<std::uint64_t>(std::llround(remaining));
    return result;
}

void ProgressMeter::update(const Progress& progress, Clock::time_point now) {
    const std::lock_guard lock(mutex_);
    const auto stage = std::find_if(stages_.begin(), stages_.end(),
                                    [&](const Progress& known) { return known.stage == progress.stage; });
    if (stage == stages_.end() || reported_end_) return;
    // What has ended has dealt with all that there was, wherever it stopped reading.
    const auto total = stage->total_bytes;
    *stage = progress;
    if (progress.ended && total != 0) stage->done_bytes = stage->total_bytes = total;
    // Threads may overtake each other on their way here.
    if (!samples_.empty()) now = std::max(now, samples_.back().time);
    reported_end_ = has_ended();
    const bool soon = !samples_.empty() && now < samples_.back().time + interval_;
    if (soon && !reported_end_ && reported_stage_ == current_stage()) return;
    const auto whole = measure(now);
    reported_stage_ = whole.stage;
    report_(whole);
}

ProgressSink ProgressMeter::sink() {
    return [this](const Progress& progress) { update(progress); };
}

}  // namespace vmad::base
