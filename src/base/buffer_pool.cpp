#include "base/buffer_pool.hpp"

#include <sys/mman.h>

#include <new>

namespace vmad::base {
namespace {

/// From here on memory is mapped: malloc keeps what is freed between other blocks, so that a budget would be
/// used up twice, once by blocks of one size and once by the holes that blocks of another size have left.
constexpr std::size_t kMappedSize = std::size_t{32} << 10;

}  // namespace

Buffer::Buffer(std::size_t capacity) : capacity_(capacity) {
    if (capacity_ >= kMappedSize) {
        void* memory = ::mmap(nullptr, capacity_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        mapped_ = memory != MAP_FAILED;
        if (mapped_) bytes_ = static_cast<std::byte*>(memory);
    }
    // The number of maps of a process is limited; malloc is not.
    if (!mapped_) bytes_ = static_cast<std::byte*>(::operator new(capacity_));
}

Buffer::~Buffer() {
    if (mapped_)
        ::munmap(bytes_, capacity_);
    else
        ::operator delete(bytes_);
}

BufferPool::BufferPool(std::size_t large, std::size_t small, std::uint64_t limit)
    : state_(std::make_shared<State>()) {
    state_->limit = limit;
    state_->size_classes[0].size = large;
    state_->size_classes[1].size = small;
}

std::unique_ptr<Buffer> BufferPool::take(State& state, std::size_t size) {
    // A mostly empty buffer would cost its owner far more than it holds.
    for (auto& size_class : state.size_classes)
        if (size <= size_class.size && size >= size_class.size / 4) size = size_class.size;
    std::vector<std::unique_ptr<Buffer>> surplus;  // freed outside the lock
    {
        const std::lock_guard lock(state.mutex);
        for (auto& size_class : state.size_classes) {
            if (size != size_class.size || size_class.unused.empty()) continue;
            auto buffer = std::move(size_class.unused.back());
            size_class.unused.pop_back();
            return buffer;
        }
        state.bytes += size;
        for (auto& size_class : state.size_classes) {
            while (state.bytes > state.limit && !size_class.unused.empty()) {
                state.bytes -= size_class.size;
                surplus.push_back(std::move(size_class.unused.back()));
                size_class.unused.pop_back();
            }
        }
    }
    return std::make_unique<Buffer>(size);
}

void BufferPool::give_back(State& state, std::unique_ptr<Buffer> buffer) noexcept {
    const std::lock_guard lock(state.mutex);
    try {
        for (auto& size_class : state.size_classes) {
            if (buffer->capacity() == size_class.size && state.bytes <= state.limit) {
                size_class.unused.push_back(std::move(buffer));
                return;
            }
        }
    } catch (const std::bad_alloc&) {
        // There is no memory to keep it: it is freed.
    }
    state.bytes -= buffer->capacity();
}

std::shared_ptr<Buffer> BufferPool::get(std::size_t size) {
    return {take(*state_, size).release(),
            [state = state_](Buffer* buffer) { give_back(*state, std::unique_ptr<Buffer>(buffer)); }};
}

}  // namespace vmad::base
