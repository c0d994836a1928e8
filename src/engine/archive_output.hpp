// The last step before the bytes are stored: an archive's header and extents, in the format of file that is
// wanted.
//
// Raw and lzo take the archive's bytes as they are; zstd and gzip take a frame for the header and for each
// extent, which the caller has compressed with encoders of its own. One thread at a time.
#pragma once

#include <memory>
#include <optional>
#include <span>

#include "base/task.hpp"
#include "codec/archive_format.hpp"
#include "codec/frame_encoder.hpp"
#include "codec/lzop.hpp"
#include "codec/seek_table.hpp"
#include "io/byte_stream.hpp"

namespace vmad::engine {

class ArchiveOutput {
  public:
    /// `sink` and `cancel` outlive this object.
    ArchiveOutput(io::ByteSink& sink, codec::ArchiveFormat format, int zstd_level,
                  const base::CancelFlag& cancel);

    /// An encoder for a thread that prepares frames for append_frame(); null when append() is to be called.
    [[nodiscard]] std::unique_ptr<codec::FrameEncoder> make_encoder() const;

    /// Bytes of the archive, in a format without frames. Throws what the sink throws.
    void append(std::span<iovec> slices, std::uint64_t size_bytes);
    /// A frame that holds `bytes` of the archive.
    void append_frame(std::span<const std::byte> frame, std::size_t bytes);
    /// The archive is complete: writes what belongs at its end.
    void finish();

  private:
    [[nodiscard]] io::ByteSink& target() noexcept;

    io::ByteSink& sink_;
    codec::ArchiveFormat format_;
    int zstd_level_;
    codec::SeekTable frames_;
    std::optional<codec::LzopSink> lzop_;
};

}  // namespace vmad::engine
