// A queue between threads that holds a bounded number of items and can be closed.
//
// push waits while the queue is full, pop waits while it is empty; close wakes both. Closing is how a
// pipeline ends, in order (what was pushed is still popped) or at once (abort drops what is queued).
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>

namespace vmad::base {

template <typename T>
class BoundedQueue {
  public:
    /// `capacity` is at least 1.
    explicit BoundedQueue(std::size_t capacity) : capacity_(capacity) {}

    /// Waits for room. False when the queue is closed; the item is dropped then.
    [[nodiscard]] bool push(T item) {
        std::unique_lock lock(mutex_);
        room_.wait(lock, [this] { return closed_ || items_.size() < capacity_; });
        if (closed_) return false;
        items_.push_back(std::move(item));
        lock.unlock();
        item_.notify_one();
        return true;
    }

    /// Waits for an item. Nothing when the queue is closed and empty.
    [[nodiscard]] std::optional<T> pop() {
        std::unique_lock lock(mutex_);
        item_.wait(lock, [this] { return closed_ || !items_.empty(); });
        if (items_.empty()) return std::nullopt;
        std::optional<T> item(std::move(items_.front()));
        items_.pop_front();
        lock.unlock();
        room_.notify_one();
        return item;
    }

    /// No more pushes; what is queued can still be popped.
    void close() noexcept {
        {
            const std::lock_guard lock(mutex_);
            closed_ = true;
        }
        room_.notify_all();
        item_.notify_all();
    }

    /// No more pushes, and what is queued is dropped: the way out after an error.
    void abort() noexcept {
        std::deque<T> dropped;
        {
            const std::lock_guard lock(mutex_);
            closed_ = true;
            items_.swap(dropped);
        }
        room_.notify_all();
        item_.notify_all();
    }

  private:
    const std::size_t capacity_;
    std::mutex mutex_;
    std::condition_variable room_;
    std::condition_variable item_;
    std::deque<T> items_;
    bool closed_ = false;
};

}  // namespace vmad::base
