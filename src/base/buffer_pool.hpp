// Reference-counted memory for payload on its way from reader to writer.
//
// Large buffers are all of one size and used again, because fresh memory costs a page fault for every 4 KiB,
// about as much as copying them. Small ones are made to measure. Thread-safe.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

namespace vmad::base {

/// Memory that several owners share; goes back to its pool, or away, with the last of them.
class Buffer {
  public:
    explicit Buffer(std::size_t capacity) : bytes_(new std::byte[capacity]), capacity_(capacity) {}
    [[nodiscard]] std::byte* data() noexcept { return bytes_.get(); }
    [[nodiscard]] const std::byte* data() const noexcept { return bytes_.get(); }
    /// What it costs to keep this buffer, in bytes.
    [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }

  private:
    std::unique_ptr<std::byte[]> bytes_;
    std::size_t capacity_;
};

class BufferPool {
  public:
    /// Buffers for up to `large` bytes; at most `spare` unused large ones are kept.
    BufferPool(std::size_t large, std::size_t spare) : state_(std::make_shared<State>(large, spare)) {}

    /// A buffer of at least `size` bytes, at most `large`, with undefined content. May outlive the pool.
    [[nodiscard]] std::shared_ptr<Buffer> get(std::size_t size) {
        // A mostly empty large buffer would cost its owner far more than it holds.
        if (size < state_->large / 4) return std::make_shared<Buffer>(size);
        return {state_->take().release(), [state = state_](Buffer* buffer) { state->give_back(buffer); }};
    }

  private:
    struct State {
        State(std::size_t large_bytes, std::size_t spare_count) : large(large_bytes), spare(spare_count) {
            unused.reserve(spare);
        }
        std::unique_ptr<Buffer> take() {
            {
                const std::lock_guard lock(mutex);
                if (!unused.empty()) {
                    auto buffer = std::move(unused.back());
                    unused.pop_back();
                    return buffer;
                }
            }
            return std::make_unique<Buffer>(large);
        }
        void give_back(Buffer* raw) noexcept {
            std::unique_ptr<Buffer> buffer(raw);
            const std::lock_guard lock(mutex);
            if (unused.size() < spare) unused.push_back(std::move(buffer));
        }
        const std::size_t large;
        const std::size_t spare;
        std::mutex mutex;
        std::vector<std::unique_ptr<Buffer>> unused;
    };
    std::shared_ptr<State> state_;
};

}  // namespace vmad::base
