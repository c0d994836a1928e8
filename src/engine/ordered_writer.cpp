#include "engine/ordered_writer.hpp"

#include <fcntl.h>

#include <algorithm>
#include <vector>

namespace vmad::engine {
namespace {

constexpr std::uint64_t kWindow = std::uint64_t{32} << 20;
/// Not more often than this: the extents of a sparse disk are tiny, and on NFS each look is a round trip.
constexpr std::uint64_t kSpaceStep = std::uint64_t{1} << 20;
/// What is in memory of a file that cannot be copied by the file system.
constexpr std::size_t kCopyBytes = std::size_t{1} << 20;

}  // namespace

OrderedWriter::OrderedWriter(io::FileSystem& fs, const io::File& file, Callbacks callbacks)
    : fs_(fs), file_(file), callbacks_(std::move(callbacks)) {}

void OrderedWriter::append(std::span<iovec> slices, std::uint64_t size_bytes) {
    require_space(size_bytes);
    io::write_fully_at(fs_, file_, slices, offset_);
    offset_ += size_bytes;
    if (offset_ - window_begin_ >= kWindow) end_window();
}

void OrderedWriter::copy(const io::File& from, std::uint64_t from_offset, std::uint64_t size_bytes) {
    while (size_bytes > 0) {
        const auto wanted = std::min(size_bytes, kWindow);
        require_space(wanted);
        const auto count = copy_some(from, from_offset, wanted);
        if (count == 0) throw base::Error(from.path() + " became shorter while it was read");
        offset_ += count;
        from_offset += count;
        size_bytes -= count;
        if (offset_ - window_begin_ >= kWindow) end_window();
    }
}

std::size_t OrderedWriter::copy_some(const io::File& from, std::uint64_t from_offset,
                                     std::size_t size_bytes) {
    // Some file systems copy nothing where there is something.
    const auto count = fs_.copy_range(from, from_offset, file_, offset_, size_bytes).value_or(0);
    if (count > 0) return count;
    std::vector<std::byte> bytes(std::min(size_bytes, kCopyBytes));
    bytes.resize(io::read_fully_at(fs_, from, bytes, from_offset));
    auto slice = io::const_slice(bytes);
    io::write_fully_at(fs_, file_, {&slice, 1}, offset_);
    return bytes.size();
}

void OrderedWriter::require_space(std::uint64_t size_bytes) {
    if (!callbacks_.require_space) return;
    if (offset_ != 0 && offset_ + size_bytes - looked_at_ < kSpaceStep) return;
    callbacks_.require_space(size_bytes);
    looked_at_ = offset_;
}

void OrderedWriter::end_window() {
    // Started now, waited for when the next window is full: the device always has one to work on.
    fs_.push_out(file_, window_begin_, offset_ - window_begin_, false);
    if (window_begin_ > on_device_) {
        fs_.push_out(file_, on_device_, window_begin_ - on_device_, true);
        fs_.advise(file_, on_device_, window_begin_ - on_device_, POSIX_FADV_DONTNEED);
        on_device_ = window_begin_;
        if (callbacks_.on_device) callbacks_.on_device(on_device_);
    }
    window_begin_ = offset_;
}

}  // namespace vmad::engine
