#include "io/written_boundary.hpp"

#include "base/task.hpp"

namespace vmad::io {

void WrittenBoundary::advance(std::uint64_t bytes) {
    {
        const std::lock_guard lock(mutex_);
        state_.bytes = bytes;
    }
    changed_.notify_all();
}

void WrittenBoundary::complete(std::uint64_t size_bytes) {
    {
        const std::lock_guard lock(mutex_);
        state_ = {size_bytes, true};
    }
    changed_.notify_all();
}

void WrittenBoundary::abort() noexcept {
    {
        const std::lock_guard lock(mutex_);
        aborted_ = true;
    }
    changed_.notify_all();
}

WrittenBoundary::State WrittenBoundary::state() const {
    const std::lock_guard lock(mutex_);
    return state_;
}

WrittenBoundary::State WrittenBoundary::wait_for(std::uint64_t bytes) const {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return aborted_ || state_.complete || state_.bytes >= bytes; });
    if (aborted_) throw base::Cancelled();
    return state_;
}

}  // namespace vmad::io
