#include "engine/ordered_writer.hpp"

#include <fcntl.h>

namespace vmad::engine {
namespace {

constexpr std::uint64_t kWindow = std::uint64_t{32} << 20;
/// Not more often than this: the extents of a sparse disk are tiny, and on NFS each look is a round trip.
constexpr std::uint64_t kSpaceStep = std::uint64_t{1} << 20;

}  // namespace

OrderedWriter::OrderedWriter(io::FileSystem& fs, const io::File& file,
                             std::function<void(std::uint64_t)> require_space)
    : fs_(fs), file_(file), require_space_(std::move(require_space)) {}

void OrderedWriter::append(std::span<iovec> slices, std::uint64_t size_bytes) {
    if (require_space_ && (offset_ == 0 || offset_ + size_bytes - looked_at_ >= kSpaceStep)) {
        require_space_(size_bytes);
        looked_at_ = offset_;
    }
    io::write_fully_at(fs_, file_, slices, offset_);
    offset_ += size_bytes;
    if (offset_ - window_begin_ >= kWindow) end_window();
}

void OrderedWriter::end_window() {
    // Started now, waited for when the next window is full: the device always has one to work on.
    fs_.push_out(file_, window_begin_, offset_ - window_begin_, false);
    if (window_begin_ > settled_) {
        fs_.push_out(file_, settled_, window_begin_ - settled_, true);
        fs_.advise(file_, settled_, window_begin_ - settled_, POSIX_FADV_DONTNEED);
        settled_ = window_begin_;
    }
    window_begin_ = offset_;
}

}  // namespace vmad::engine
