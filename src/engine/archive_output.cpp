#include "engine/archive_output.hpp"

#include <vector>

namespace vmad::engine {

using codec::ArchiveFormat;

ArchiveOutput::ArchiveOutput(io::ByteSink& sink, ArchiveFormat format, int zstd_level,
                             const base::CancelFlag& cancel)
    : sink_(sink), format_(format), zstd_level_(zstd_level) {
    if (format_ == ArchiveFormat::lzo) lzop_.emplace(sink, &cancel);
}

std::unique_ptr<codec::FrameEncoder> ArchiveOutput::make_encoder() const {
    if (format_ == ArchiveFormat::raw || format_ == ArchiveFormat::lzo) return nullptr;
    return codec::make_frame_encoder(format_, zstd_level_);
}

io::ByteSink& ArchiveOutput::target() noexcept { return lzop_ ? *lzop_ : sink_; }

void ArchiveOutput::append(std::span<iovec> slices, std::uint64_t size_bytes) {
    target().append(slices, size_bytes);
}

void ArchiveOutput::append_frame(std::span<const std::byte> frame, std::size_t bytes) {
    iovec slice{const_cast<std::byte*>(frame.data()), frame.size()};  // writing leaves the bytes alone
    sink_.append({&slice, 1}, frame.size());
    if (format_ == ArchiveFormat::zstd)
        frames_.add(static_cast<std::uint32_t>(frame.size()), static_cast<std::uint32_t>(bytes));
}

void ArchiveOutput::finish() {
    if (lzop_) lzop_->finish();
    if (format_ != ArchiveFormat::zstd) return;
    auto table = frames_.encode();
    iovec slice{table.data(), table.size()};
    sink_.append({&slice, 1}, table.size());
}

}  // namespace vmad::engine
