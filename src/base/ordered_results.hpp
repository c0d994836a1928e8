// What several threads make, handed to one in a fixed order.
//
// A thread takes a ticket before it begins and puts its result under it; pop gives the results in the order
// of the tickets. Bounded: no more than `limit` tickets are out whose result was not popped.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>

namespace vmad::base {

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

}  // namespace vmad::base
