// How a task over a whole archive runs, and how far it is.
#pragma once

#include "base/task.hpp"
#include "io/byte_stream.hpp"

namespace vmad::access {

/// What it refers to outlives the task.
struct TaskOptions {
    unsigned threads = 1;  ///< that compute, beside those that read and write; at least 1
    const base::CancelFlag* cancel = nullptr;
    base::ProgressSink progress;

    /// Never requested when there is none.
    [[nodiscard]] const base::CancelFlag& cancel_flag() const noexcept;

    /// Tells `progress` how far the source is.
    void report(base::Stage stage, const io::SourceProgress& source) const {
        if (progress) progress({stage, source.done_bytes, source.total_bytes});
    }
};

/// The number of computing threads that a hypervisor can spare: half of its processors, at most 4.
[[nodiscard]] unsigned default_threads() noexcept;

}  // namespace vmad::access
