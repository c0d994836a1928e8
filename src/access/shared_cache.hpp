// What takes time to load, kept in memory up to a limit, and a few threads that load some of it ahead.
//
// Who asks for what another thread is loading waits for that: nothing is loaded twice at once. The longest
// unused goes first. Any thread.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <future>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.hpp"

namespace vmad::access {

/// `Value` has memory_bytes(): what it takes in memory. Keys are ordered.
template <typename Key, typename Value>
class SharedCache {
  public:
    using Pointer = std::shared_ptr<const Value>;
    using Load = std::function<Value(const Key&)>;

    /// What failed is not tried again so soon: a broken disk takes its time to say so.
    static constexpr std::chrono::seconds kRetryInterval{5};

    /// `load` is called in the thread that asks, and by several at once. The limit is for what is kept;
    /// beside it stands what somebody is loading or still holds.
    SharedCache(std::uint64_t limit_bytes, Load load) : limit_bytes_(limit_bytes), load_(std::move(load)) {}
    SharedCache(const SharedCache&) = delete;
    SharedCache& operator=(const SharedCache&) = delete;

    /// Loads it unless it is there. Throws what the loading throws; a base::Error for kRetryInterval again,
    /// without loading.
    [[nodiscard]] Pointer get(const Key& key) {
        std::promise<Pointer> promise;
        {
            std::unique_lock lock(mutex_);
            if (auto* entry = find(key)) {
                const auto value = entry->value;
                lock.unlock();
                return value.get();
            }
            entries_[key].value = promise.get_future().share();
        }
        return load(key, promise);
    }

    /// True when it is there, on its way, or has failed just now.
    [[nodiscard]] bool has(const Key& key) {
        const std::lock_guard lock(mutex_);
        return find(key) != nullptr;
    }

    /// Of all that is kept.
    [[nodiscard]] std::uint64_t memory_bytes() const {
        const std::lock_guard lock(mutex_);
        return memory_bytes_;
    }

  private:
    using Clock = std::chrono::steady_clock;
    /// The most recently used at the front.
    using Order = std::list<Key>;
    struct Entry {
        std::shared_future<Pointer> value;
        std::uint64_t bytes = 0;
        typename Order::iterator place{};  ///< in order_, once it is loaded or has failed
        bool ended = false;
        Clock::time_point valid_until = Clock::time_point::max();
    };

    /// What an entry itself takes.
    static constexpr std::uint64_t kEntryBytes = sizeof(Entry) + 4 * sizeof(Key) + 256;

    [[nodiscard]] Entry* find(const Key& key) {
        const auto found = entries_.find(key);
        if (found == entries_.end()) return nullptr;
        auto& entry = found->second;
        if (entry.valid_until < Clock::now()) {
            remove(found);
            return nullptr;
        }
        if (entry.ended) order_.splice(order_.begin(), order_, entry.place);
        return &entry;
    }

    [[nodiscard]] Pointer load(const Key& key, std::promise<Pointer>& promise) {
        try {
            auto value = std::make_shared<const Value>(load_(key));
            end(key, value->memory_bytes(), Clock::time_point::max());
            promise.set_value(value);
            return value;
        } catch (const base::Error&) {
            end(key, 0, Clock::now() + kRetryInterval);
            promise.set_exception(std::current_exception());
            throw;
        } catch (...) {
            forget(key);
            promise.set_exception(std::current_exception());
            throw;
        }
    }

    void end(const Key& key, std::uint64_t value_bytes, Clock::time_point valid_until) {
        const std::lock_guard lock(mutex_);
        auto& entry = entries_[key];
        entry.place = order_.insert(order_.begin(), key);
        entry.ended = true;
        entry.bytes = value_bytes + kEntryBytes;
        entry.valid_until = valid_until;
        memory_bytes_ += entry.bytes;
        while (memory_bytes_ > limit_bytes_ && !order_.empty()) remove(entries_.find(order_.back()));
    }

    void forget(const Key& key) {
        const std::lock_guard lock(mutex_);
        entries_.erase(key);
    }

    void remove(typename std::map<Key, Entry>::iterator entry) {
        memory_bytes_ -= entry->second.bytes;
        order_.erase(entry->second.place);
        entries_.erase(entry);
    }

    const std::uint64_t limit_bytes_;
    const Load load_;
    mutable std::mutex mutex_;
    std::map<Key, Entry> entries_;
    Order order_;
    std::uint64_t memory_bytes_ = 0;
};

/// Threads that work on keys in the background, the ones asked for last not before the others. They are
/// started when the first key is asked for: a process may fork before.
template <typename Key>
class BackgroundLoader {
  public:
    /// `load` is called by as many threads at once as there are processors, but not more than `limit`, and
    /// does not throw. Of more than `limit` keys that wait, the first are dropped; 0 counts as 1.
    BackgroundLoader(std::size_t limit, std::function<void(const Key&)> load)
        : limit_(std::max<std::size_t>(1, limit)),
          thread_count_(std::min<std::size_t>(limit_, std::max(1U, std::thread::hardware_concurrency()))),
          load_(std::move(load)) {}
    BackgroundLoader(const BackgroundLoader&) = delete;
    BackgroundLoader& operator=(const BackgroundLoader&) = delete;
    /// Waits for the keys that are being worked on; drops the others.
    ~BackgroundLoader() {
        {
            const std::lock_guard lock(mutex_);
            stopped_ = true;
        }
        changed_.notify_all();
        for (auto& thread : threads_) thread.join();
    }

    void ask_for(const Key& key) {
        {
            const std::lock_guard lock(mutex_);
            if (!start_threads()) return;
            if (std::find(waiting_.begin(), waiting_.end(), key) != waiting_.end()) return;
            if (waiting_.size() == limit_) waiting_.pop_front();
            waiting_.push_back(key);
        }
        changed_.notify_one();
    }

  private:
    /// As many as can be had: to load ahead is no more than a hint. False when there is none.
    bool start_threads() {
        try {
            while (threads_.size() < thread_count_) threads_.emplace_back([this] { work(); });
        } catch (const std::system_error&) {
            return !threads_.empty();
        }
        return true;
    }

    void work() {
        std::unique_lock lock(mutex_);
        while (true) {
            changed_.wait(lock, [this] { return stopped_ || !waiting_.empty(); });
            if (stopped_) return;
            const auto key = waiting_.front();
            waiting_.pop_front();
            lock.unlock();
            load_(key);
            lock.lock();
        }
    }

    const std::size_t limit_;
    const std::size_t thread_count_;
    const std::function<void(const Key&)> load_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<Key> waiting_;
    bool stopped_ = false;
    std::vector<std::thread> threads_;
};

}  // namespace vmad::access
