// Compresses pieces of an archive so that each is decompressed on its own, and all of them, one behind the
// other, by the stock tools: zstd frames (content size and checksum in each) or gzip members.
//
// Equal pieces give equal bytes at equal levels and library versions, whichever object compresses them.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <memory>
#include <span>

#include "codec/archive_format.hpp"

namespace vmad::codec {

/// One thread at a time.
class FrameEncoder {
  public:
    virtual ~FrameEncoder() = default;
    /// What encode() needs at most for a piece of this size.
    [[nodiscard]] virtual std::size_t bound(std::size_t size_bytes) const = 0;
    /// Compresses the slices, taken as one piece, into `into` of at least bound() bytes. Returns how many
    /// were written. Throws std::bad_alloc.
    [[nodiscard]] virtual std::size_t encode(std::span<const iovec> slices, std::span<std::byte> into) = 0;
};

/// `format` is zstd or gzip; `zstd_level` is 1 to base::kMaxZstdLevel.
[[nodiscard]] std::unique_ptr<FrameEncoder> make_frame_encoder(ArchiveFormat format, int zstd_level);

}  // namespace vmad::codec
