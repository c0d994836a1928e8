// Keeps the first of the exceptions that several threads run into, to be rethrown after they were joined.
#pragma once

#include <exception>
#include <mutex>
#include <utility>

namespace vmad::base {

/// Thread-safe.
class FirstError {
  public:
    /// Keeps the exception in flight unless there is one already. Call it in a catch block.
    void capture() noexcept {
        const std::lock_guard lock(mutex_);
        if (!error_) error_ = std::current_exception();
    }
    [[nodiscard]] bool any() const noexcept {
        const std::lock_guard lock(mutex_);
        return error_ != nullptr;
    }
    void rethrow() const {
        const std::lock_guard lock(mutex_);
        if (error_) std::rethrow_exception(error_);
    }

  private:
    mutable std::mutex mutex_;
    std::exception_ptr error_;
};

}  // namespace vmad::base
