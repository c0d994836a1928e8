#include "engine/ordered_writer.hpp"

#include <fcntl.h>

namespace vmad::engine {
namespace {

constexpr std::uint64_t kWindow = std::uint64_t{32} << 20;
/// Not more often than this: the extents of a sparse disk are tiny, and on NFS each look is a round trip.
constexpr std::uint64_t kSpaceStep = std::uint64_t{1} << 20;

}  // namespace

OrderedWriter::OrderedWriter(io::FileSystem& fs, const io::File& file, Callbacks callbacks)
    : fs_(fs), file_(file), callbacks_(std::move(callbacks)) {}

void OrderedWriter::append(std::span<iovec> slices, std::uint64_t size_bytes) {
    if (callbacks_.require_space && (offset_ == 0 || offset_ + size_bytes - looked_at_ >= kSpaceStep)) {
        callbacks_.require_space(size_bytes);
        looked_at_ = offset_;
    }
    io::write_fully_at(fs_, file_, slices, offset_);
    offset_ += size_bytes;
    if (offset_ - window_begin_ >= kWindow) end_window();
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
