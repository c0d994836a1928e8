// How a long task is watched and stopped: the progress that it reports, and the flag by which it is asked to
// stop.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>

#include "base/error.hpp"

namespace vmad::base {

/// A flag by which one thread, or a signal handler, asks a long task to stop. Outlives every task that looks
/// at it. request() is safe in a signal handler.
class CancelFlag {
  public:
    void request() noexcept { requested_.store(true, std::memory_order_relaxed); }
    [[nodiscard]] bool requested() const noexcept { return requested_.load(std::memory_order_relaxed); }
    /// Throws Cancelled when a stop was requested. Tasks call it at least once for every few MiB.
    void check() const {
        if (requested()) throw Cancelled();
    }

  private:
    std::atomic<bool> requested_{false};
    static_assert(std::atomic<bool>::is_always_lock_free);
};

/// What a task is doing: copying payload into place, reading an archive to verify it, reading the source of a
/// repack once more, writing disks to files, or sharing blocks with another archive.
enum class Stage { repacking, verifying, checking, extracting, sharing };

/// The name of each stage, wherever it is shown or stored.
inline constexpr std::array kStageNames{"repacking", "verifying", "checking", "extracting", "sharing"};

[[nodiscard]] inline const char* to_string(Stage stage) noexcept {
    return kStageNames[static_cast<std::size_t>(stage)];
}

/// How far a stage is. Stages may overlap; ProgressMeter makes one progress of them.
struct Progress {
    Stage stage = Stage::repacking;
    std::uint64_t done_bytes = 0;
    /// 0 when the size is not known, for example on a pipe.
    std::uint64_t total_bytes = 0;
    bool ended = false;  ///< the last report of the stage
};

/// Called once for every extent, by each stage that runs from a thread of its own; must be quick. What it
/// throws ends the task.
using ProgressSink = std::function<void(const Progress&)>;

/// What it refers to outlives the task.
struct TaskOptions {
    unsigned threads = 1;  ///< that compute, beside those that read and write; at least 1
    const CancelFlag* cancel = nullptr;
    ProgressSink progress;

    /// Never requested when there is none.
    [[nodiscard]] const CancelFlag& cancel_flag() const noexcept;

    /// Reports how far the source, an io::ByteSource::progress(), is.
    template <typename SourceProgress>
    void report(Stage stage, const SourceProgress& source) const {
        if (progress) progress({stage, source.done_bytes, source.total_bytes});
    }
    /// Reports that the stage has ended, after so many bytes.
    void report_end(Stage stage, std::uint64_t bytes) const {
        if (progress) progress({stage, bytes, bytes, true});
    }
};

/// The number of computing threads that a hypervisor can spare: half of its processors, at most 4.
[[nodiscard]] unsigned default_threads() noexcept;

}  // namespace vmad::base
