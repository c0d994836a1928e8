#include "engine/archive_output.hpp"

#include "canon/layout.hpp"
#include "codec/seek_table.hpp"
#include "codec/zstd_form.hpp"
#include "io/byte_stream.hpp"

namespace vmad::engine {

using codec::ArchiveFormat;

ArchiveOutput::ArchiveOutput(io::FileSystem& fs, io::ByteSink& sink, const Options& options,
                             const base::CancelFlag& cancel)
    : sink_(sink), options_(options), encoder_(make_encoder()), entries_(fs, options.spill) {
    if (options_.format == ArchiveFormat::lzo) lzop_.emplace(sink, &cancel);
}

std::unique_ptr<codec::FrameEncoder> ArchiveOutput::make_encoder() const {
    if (options_.format == ArchiveFormat::raw || options_.format == ArchiveFormat::lzo) return nullptr;
    return codec::make_frame_encoder(options_.format, options_.zstd_level);
}

std::uint64_t ArchiveOutput::append(std::span<iovec> slices, std::uint64_t size_bytes) {
    if (lzop_) {
        lzop_->append(slices, size_bytes);
        return 0;
    }
    sink_.append(slices, size_bytes);
    stored_bytes_ += size_bytes;
    return stored_bytes_ - size_bytes;
}

void ArchiveOutput::append_header(std::span<const std::byte> frame, std::size_t bytes) {
    append_frame(frame, bytes);
}

std::uint64_t ArchiveOutput::append_region(std::span<const std::byte> frame, std::size_t bytes) {
    end_run();
    if (is_zstd()) fill_page();
    append_frame(frame, bytes);
    return stored_bytes_ - frame.size();
}

void ArchiveOutput::append_empty(std::uint64_t number, std::span<const std::byte> extents) {
    if (number % canon::kExtentsPerGroup == 0) end_run();
    run_.insert(run_.end(), extents.begin(), extents.end());
}

void ArchiveOutput::end_run() {
    if (run_.empty()) return;
    run_frame_.resize(encoder_->bound(run_.size()));
    const auto slice = io::const_slice(run_);
    const auto size = encoder_->encode({&slice, 1}, run_frame_);
    append_frame(std::span(run_frame_).first(size), run_.size());
    run_.clear();
}

void ArchiveOutput::fill_page() {
    const auto filling = codec::make_filling(codec::filling_bytes(stored_bytes_));
    write(filling);
    entry_->stored_bytes += filling.size();
}

void ArchiveOutput::append_frame(std::span<const std::byte> frame, std::size_t bytes) {
    if (entry_) entries_.add(entry_->stored_bytes, entry_->bytes, entry_->checksum);
    write(frame);
    if (is_zstd()) entry_ = {frame.size(), bytes, codec::frame_checksum(frame)};
}

void ArchiveOutput::write(std::span<const std::byte> bytes) {
    auto slice = io::const_slice(bytes);
    sink_.append({&slice, 1}, bytes.size());
    stored_bytes_ += bytes.size();
}

void ArchiveOutput::finish() {
    if (lzop_) return lzop_->finish();
    end_run();
    if (!is_zstd()) return;
    entries_.add(entry_->stored_bytes, entry_->bytes, entry_->checksum);
    entries_.write_table(sink_);
}

}  // namespace vmad::engine
