#include "access/read_streams.hpp"

#include <algorithm>
#include <thread>

namespace vmad::access {
namespace {

/// Reads are sequential when so much was read; the kernel's reads may come in another order than it asked.
constexpr std::uint64_t kSequentialBytes = std::uint64_t{512} << 10;
constexpr std::uint64_t kDisorderBytes = std::uint64_t{1} << 20;

}  // namespace

std::size_t parts_ahead(unsigned wanted, std::uint64_t memory_bytes, std::size_t part_bytes) noexcept {
    const std::uint64_t parts = wanted != 0 ? wanted : 2 * std::max(1U, std::thread::hardware_concurrency());
    return std::min(parts, memory_bytes / 2 / part_bytes);
}

bool ReadStreams::follow(std::uint8_t device_id, std::uint64_t offset, std::uint64_t bytes,
                         std::uint64_t part) {
    const std::lock_guard lock(mutex_);
    auto& stream = stream_of(device_id, offset);
    stream.used = ++reads_;
    stream.end = std::max(stream.end, offset + bytes);
    stream.bytes += bytes;
    if (stream.bytes < kSequentialBytes || stream.reached == part + 1) return false;
    stream.reached = part + 1;
    return true;
}

ReadStreams::Stream& ReadStreams::stream_of(std::uint8_t device_id, std::uint64_t offset) {
    auto* oldest = &streams_[0];
    for (auto& stream : streams_) {
        const auto distance = offset > stream.end ? offset - stream.end : stream.end - offset;
        if (stream.device_id == device_id && distance <= kDisorderBytes) return stream;
        if (stream.used < oldest->used) oldest = &stream;
    }
    *oldest = {device_id, offset};
    return *oldest;
}

}  // namespace vmad::access
