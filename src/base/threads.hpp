// What the threads of a pipeline share: a queue with a bound, results in the order of tickets, and the first
// error of them all. Everything here is thread-safe.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <map>
#include <mutex>
#include <optional>
#include <utility>

namespace vmad::base {

/// A queue between threads that holds a bounded number of items and can be closed. push waits while it is
/// full, pop waits while it is empty; close wakes both. Closing is how a pipeline ends, in order (what was
/// pushed is still popped) or at once (abort drops what is queued).
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
        {
            const std::lock_guard lock(mutex_);
            closed_ = true;
            items_.clear();  // another deque to drop them from would need memory
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

/// What several threads make, handed to one in a fixed order. A thread takes a ticket before it begins and
/// puts its result under it; pop gives the results in the order of the tickets. Bounded: no more than `limit`
/// tickets are out whose result was not popped.
template <typename T>
class OrderedResults {
  public:
    /// `limit` is at least 1.
    explicit OrderedResults(std::uint64_t limit) : limit_(limit) {}

    /// The next ticket, when there is room for its result. Nothing after abort.
    [[nodiscard]] std::optional<std::uint64_t> take_ticket() {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return aborted_ || tickets_ - popped_ < limit_; });
        if (aborted_) return std::nullopt;
        return tickets_++;
    }

    void put(std::uint64_t ticket, T result) {
        {
            const std::lock_guard lock(mutex_);
            results_.emplace(ticket, std::move(result));
        }
        changed_.notify_all();
    }

    /// No more tickets will be taken.
    void close() {
        {
            const std::lock_guard lock(mutex_);
            closed_ = true;
        }
        changed_.notify_all();
    }

    /// Wakes everybody; what was not popped is lost.
    void abort() noexcept {
        {
            const std::lock_guard lock(mutex_);
            aborted_ = true;
        }
        changed_.notify_all();
    }

    /// The result of the next ticket, waiting for it. Nothing after abort, or when the queue is closed and
    /// every ticket's result was popped.
    [[nodiscard]] std::optional<T> pop() {
        std::optional<T> result;
        {
            std::unique_lock lock(mutex_);
            changed_.wait(lock, [this] {
                return aborted_ || results_.count(popped_) != 0 || (closed_ && popped_ == tickets_);
            });
            if (aborted_ || popped_ == tickets_) return std::nullopt;
            const auto next = results_.find(popped_);
            result.emplace(std::move(next->second));
            results_.erase(next);
            ++popped_;
        }
        changed_.notify_all();
        return result;
    }

  private:
    const std::uint64_t limit_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::map<std::uint64_t, T> results_;  ///< by ticket
    std::uint64_t tickets_ = 0;           ///< taken
    std::uint64_t popped_ = 0;
    bool closed_ = false;
    bool aborted_ = false;
};

/// Keeps the first of the exceptions that several threads run into, to be rethrown after they were joined.
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
