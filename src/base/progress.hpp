// How far a long task is, reported to whoever shows it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace vmad::base {

/// What a task is doing: copying payload into place, or reading the result back to verify it.
enum class Stage { repacking, verifying };

/// The name of each stage, wherever it is shown or stored.
inline constexpr std::array kStageNames{"repacking", "verifying"};

[[nodiscard]] inline const char* to_string(Stage stage) noexcept {
    return kStageNames[static_cast<std::size_t>(stage)];
}

struct Progress {
    Stage stage = Stage::repacking;
    std::uint64_t done_bytes = 0;
    /// 0 when the size is not known, for example on a pipe.
    std::uint64_t total_bytes = 0;
};

/// Called from one thread at a time, once for every extent of up to 3.7 MiB; must be quick. What it throws
/// ends the task.
using ProgressSink = std::function<void(const Progress&)>;

}  // namespace vmad::base
