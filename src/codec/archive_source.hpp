// An archive as its uncompressed bytes, whatever format of file or stream it stands in.
//
// Tells the format by content and puts the right decoder over it. One thread at a time.
#pragma once

#include <memory>

#include "codec/decoder.hpp"
#include "io/file_source.hpp"
#include "io/read_sums.hpp"

namespace vmad::codec {

struct SourceOptions {
    unsigned threads = 1;  ///< that decompress, where the file lets more than one
    const base::CancelFlag* cancel = nullptr;
    /// Of a file read through the page cache: is given what is read of it. May be null.
    io::ReadSums* sums = nullptr;
};

class ArchiveSource final : public io::ByteSource {
  public:
    /// A regular file, read through the page cache. All arguments outlive this object, here and below. Throws
    /// base::Unsupported for a format that is not handled, and what the decoder throws.
    static ArchiveSource of_file(io::FileSystem& fs, const io::File& file, io::CacheUse cache_use,
                                 const SourceOptions& options);
    /// A regular file that was synced, read from its device rather than from the page cache.
    static ArchiveSource of_direct(io::FileSystem& fs, const io::File& file, const SourceOptions& options);
    /// Anything else, from its next byte on.
    static ArchiveSource of_stream(io::ByteSource& stream, const SourceOptions& options);

    [[nodiscard]] std::size_t read(std::span<iovec> into) override { return top().read(into); }
    /// Of the uncompressed archive: known for a raw file only.
    [[nodiscard]] std::optional<std::uint64_t> size_bytes() const override { return top().size_bytes(); }
    [[nodiscard]] io::SourceProgress progress() const override { return top().progress(); }

    [[nodiscard]] ArchiveFormat format() const noexcept { return format_; }
    /// The file whose bytes are the archive's, at the same offsets; null when there is no such file.
    [[nodiscard]] const io::File* raw_file() const noexcept { return raw_file_; }
    /// What was read so far stands in a format with checksums of the content, and they held.
    [[nodiscard]] bool content_checked() const noexcept { return decoder_ && decoder_->content_checked(); }
    /// What was odd about how it is stored, though it could be read: final when it was read to its end.
    [[nodiscard]] const std::string& warning() const noexcept;
    /// After it was read to its end: why it is not stored the way a canonical archive of its format is, with
    /// frames that end at `ends`; empty when it is.
    [[nodiscard]] std::string stored_deviation(const FrameEnds& ends) const;

  private:
    ArchiveSource(ArchiveFormat format, std::unique_ptr<io::ByteSource> stored, FoundSeekTable found,
                  const SourceOptions& options);
    [[nodiscard]] io::ByteSource& top() const noexcept { return decoder_ ? *decoder_ : *stored_; }

    ArchiveFormat format_;
    const io::File* raw_file_ = nullptr;
    std::string seek_table_defect_;
    std::unique_ptr<io::ByteSource> stored_;
    std::unique_ptr<Decoder> decoder_;  ///< none for a raw archive
};

}  // namespace vmad::codec
