#include "worker/progress_meter.hpp"

namespace vmad::worker {
namespace {

constexpr auto kReportEvery = std::chrono::milliseconds(250);
constexpr auto kRateOver = std::chrono::seconds(5);

}  // namespace

std::optional<api::JobProgress> ProgressMeter::update(const base::Progress& progress, Clock::time_point now) {
    if (stage_ != progress.stage) {
        stage_ = progress.stage;
        samples_.clear();
    }
    if (!samples_.empty() && now < samples_.back().time + kReportEvery) return std::nullopt;
    samples_.push_back({now, progress.done_bytes});
    while (samples_.size() > 2 && samples_[1].time + kRateOver < now) samples_.pop_front();

    api::JobProgress report{to_string(progress.stage), progress.done_bytes, progress.total_bytes, 0,
                            std::nullopt};
    const std::chrono::duration<double> elapsed = now - samples_.front().time;
    if (elapsed.count() <= 0) return report;
    const auto rate =
        static_cast<double>(progress.done_bytes - samples_.front().done_bytes) / elapsed.count();
    report.bytes_per_second = static_cast<std::uint64_t>(rate);
    if (report.bytes_per_second > 0 && progress.total_bytes >= progress.done_bytes)
        report.remaining_seconds = (progress.total_bytes - progress.done_bytes) / report.bytes_per_second;
    return report;
}

}  // namespace vmad::worker
