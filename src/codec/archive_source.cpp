#include "codec/archive_source.hpp"

#include "io/byte_stream.hpp"
#include "io/direct_source.hpp"
#include "io/file_source.hpp"

namespace vmad::codec {
namespace {

std::vector<std::byte> first_bytes(io::ByteSource& stream) {
    std::vector<std::byte> bytes(kFormatBytes);
    iovec slice{bytes.data(), bytes.size()};
    bytes.resize(stream.read({&slice, 1}));
    return bytes;
}

}  // namespace

ArchiveSource::ArchiveSource(ArchiveFormat format, std::unique_ptr<io::ByteSource> stored,
                             FoundSeekTable found, const SourceOptions& options)
    : format_(format), seek_table_defect_(std::move(found.defect)), stored_(std::move(stored)) {
    if (format_ == ArchiveFormat::raw) return;
    decoder_ = make_decoder(format_, *stored_, {options.threads, options.cancel, std::move(found.table)});
}

ArchiveSource ArchiveSource::of_file(io::FileSystem& fs, const io::File& file, io::CacheUse cache_use,
                                     const SourceOptions& options) {
    const auto format = format_of_file(fs, file);
    std::unique_ptr<io::ByteSource> stored = std::make_unique<io::FileSource>(fs, file, cache_use);
    if (options.sums != nullptr)
        stored = std::make_unique<io::SummedSource>(std::move(stored), *options.sums);
    auto found = format == ArchiveFormat::zstd ? read_seek_table(fs, file) : FoundSeekTable{};
    ArchiveSource source(format, std::move(stored), std::move(found), options);
    if (format == ArchiveFormat::raw) source.raw_file_ = &file;
    return source;
}

ArchiveSource ArchiveSource::of_direct(io::FileSystem& fs, const io::File& file,
                                       const SourceOptions& options) {
    const auto format = format_of_file(fs, file);
    auto found = format == ArchiveFormat::zstd ? read_seek_table(fs, file) : FoundSeekTable{};
    // Last, because it drops what was read so far from the page cache.
    return {format, std::make_unique<io::DirectSource>(fs, file), std::move(found), options};
}

ArchiveSource ArchiveSource::of_stream(io::ByteSource& stream, const SourceOptions& options) {
    auto begin = first_bytes(stream);
    const auto format = format_of_content(begin);
    return {format, std::make_unique<io::PrefixedSource>(std::move(begin), stream), {}, options};
}

const std::string& ArchiveSource::warning() const noexcept {
    return decoder_ && !decoder_->warning().empty() ? decoder_->warning() : seek_table_defect_;
}

std::string ArchiveSource::stored_deviation(const FrameEnds& ends) const {
    if (format_ == ArchiveFormat::raw || format_ == ArchiveFormat::lzo) return "";
    if (decoder_->frame_ends() != ends) return "the header and the regions are not compressed on their own";
    if (format_ == ArchiveFormat::gzip)
        return decoder_->is_canonical_form() ? "" : "zeros follow the compressed data";
    if (!warning().empty()) return warning();
    if (!decoder_->frames_checked()) return "a frame has no checksum or no content size";
    if (!decoder_->is_canonical_form()) return "its fillings or its seek table are not those of its frames";
    return "";
}

}  // namespace vmad::codec
