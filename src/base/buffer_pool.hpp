// Reference-counted memory for payload on its way from reader to writer.
//
// Buffers of two sizes are used again, because fresh memory costs a page fault for every 4 KiB, about as much
// as filling it. Others are made to measure. Thread-safe.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace vmad::base {

/// Memory that several owners share; goes back to its pool, or away, with the last of them.
class Buffer {
  public:
    /// Throws std::bad_alloc.
    explicit Buffer(std::size_t capacity);
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;
    ~Buffer();

    [[nodiscard]] std::byte* data() noexcept { return bytes_; }
    /// What it costs to keep this buffer, in bytes.
    [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }

  private:
    std::byte* bytes_ = nullptr;
    std::size_t capacity_;
    bool mapped_ = false;
};

class BufferPool {
  public:
    /// Buffers of `large` and of `small` bytes are used again, as long as all buffers, used and unused, take
    /// no more than `limit` bytes. Buffers in use may take more: the limit is the callers' to keep.
    BufferPool(std::size_t large, std::size_t small, std::uint64_t limit);

    /// A buffer of at least `size` bytes, at most `large`, with undefined content. May outlive the pool.
    [[nodiscard]] std::shared_ptr<Buffer> get(std::size_t size);

  private:
    /// Buffers of one size.
    struct SizeClass {
        std::size_t size = 0;
        std::vector<std::unique_ptr<Buffer>> unused;
    };
    struct State {
        std::mutex mutex;
        std::uint64_t limit = 0;
        std::uint64_t bytes = 0;  ///< of all buffers, used and unused
        std::array<SizeClass, 2> size_classes;
    };
    static std::unique_ptr<Buffer> take(State& state, std::size_t size);
    static void give_back(State& state, std::unique_ptr<Buffer> buffer) noexcept;

    std::shared_ptr<State> state_;
};

}  // namespace vmad::base
