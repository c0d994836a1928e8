#include "codec/archive_source.hpp"

#include "io/device_source.hpp"
#include "io/prefixed_source.hpp"

namespace vmad::codec {
namespace {

std::vector<std::byte> first_bytes(io::ByteSource& stream) {
    std::vector<std::byte> bytes(kKindBytes);
    iovec slice{bytes.data(), bytes.size()};
    bytes.resize(stream.read({&slice, 1}));
    return bytes;
}

}  // namespace

ArchiveSource::ArchiveSource(ArchiveKind kind, std::unique_ptr<io::ByteSource> stored, FoundSeekTable found,
                             const SourceOptions& options)
    : kind_(kind), seek_table_defect_(std::move(found.defect)), stored_(std::move(stored)) {
    if (kind_ == ArchiveKind::raw) return;
    decoder_ = make_decoder(kind_, *stored_, {options.threads, options.cancel, std::move(found.table)});
}

ArchiveSource ArchiveSource::of_file(io::FileSystem& fs, const io::File& file, io::CacheUse cache_use,
                                     const SourceOptions& options) {
    const auto kind = kind_of_file(fs, file);
    auto stored = std::make_unique<io::FileSource>(fs, file, cache_use);
    auto found = kind == ArchiveKind::zstd ? read_seek_table(fs, file) : FoundSeekTable{};
    ArchiveSource source(kind, std::move(stored), std::move(found), options);
    if (kind == ArchiveKind::raw) source.raw_file_ = &file;
    return source;
}

ArchiveSource ArchiveSource::of_device(io::FileSystem& fs, const io::File& file,
                                       const SourceOptions& options) {
    const auto kind = kind_of_file(fs, file);
    auto found = kind == ArchiveKind::zstd ? read_seek_table(fs, file) : FoundSeekTable{};
    // Last, because it drops what was read so far from the page cache.
    return {kind, std::make_unique<io::DeviceSource>(fs, file), std::move(found), options};
}

ArchiveSource ArchiveSource::of_stream(io::ByteSource& stream, const SourceOptions& options) {
    auto begin = first_bytes(stream);
    const auto kind = kind_of_content(begin);
    return {kind, std::make_unique<io::PrefixedSource>(std::move(begin), stream), {}, options};
}

const std::string& ArchiveSource::notice() const noexcept {
    return decoder_ && !decoder_->notice().empty() ? decoder_->notice() : seek_table_defect_;
}

std::string ArchiveSource::stored_departure(const FrameEnds& ends) const {
    if (kind_ == ArchiveKind::raw || kind_ == ArchiveKind::lzo) return "";
    if (decoder_->frame_ends() != ends) return "the header and each extent are not compressed on their own";
    if (kind_ == ArchiveKind::gzip) return "";
    if (!notice().empty()) return notice();
    if (!decoder_->has_seek_table()) return "it does not end in a seek table of its frames";
    if (!decoder_->frames_checked()) return "a frame has no checksum or no content size";
    return "";
}

}  // namespace vmad::codec
