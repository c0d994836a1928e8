// How far a long task is, told to whoever shows it.
#pragma once

#include <cstdint>
#include <functional>

namespace vmad::base {

/// What a task is doing: copying payload into place, or reading the result back to prove it.
enum class Stage { repacking, proving };

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
