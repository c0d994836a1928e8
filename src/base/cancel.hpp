// A flag by which one thread, or a signal handler, asks a long task to stop.
#pragma once

#include <atomic>

#include "base/error.hpp"

namespace vmad::base {

/// Outlives every task that looks at it. request() is safe in a signal handler.
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

}  // namespace vmad::base
