#include "codec/frame_encoder.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <new>
#include <vector>

#include <zlib.h>
#include <zstd.h>

namespace vmad::codec {
namespace {

constexpr int kGzipLevel = 6;             ///< as gzip and pigz have it by default
constexpr int kGzipWindowBits = 15 + 16;  ///< the largest window, in gzip's header and trailer
constexpr int kGzipMemoryLevel = 8;

/// Makes one piece of slices. How a compressor's input is cut may tell in its output: neither zstd nor zlib
/// promise that it does not.
class Gatherer {
  public:
    /// Valid until the next call, or as long as the one slice.
    [[nodiscard]] std::span<const std::byte> gather(std::span<const iovec> slices) {
        if (slices.size() == 1) return {static_cast<const std::byte*>(slices[0].iov_base), slices[0].iov_len};
        std::size_t size = 0;
        for (const auto& slice : slices) size += slice.iov_len;
        if (piece_.size() < size) piece_.resize(size);
        std::size_t at = 0;
        for (const auto& slice : slices) {
            if (slice.iov_len > 0) std::memcpy(piece_.data() + at, slice.iov_base, slice.iov_len);
            at += slice.iov_len;
        }
        return std::span<const std::byte>(piece_).first(size);
    }

  private:
    std::vector<std::byte> piece_;
};

class ZstdEncoder final : public FrameEncoder {
  public:
    explicit ZstdEncoder(int level) : context_(ZSTD_createCCtx()) {
        if (!context_) throw std::bad_alloc();
        ZSTD_CCtx_setParameter(context_.get(), ZSTD_c_compressionLevel, level);
        ZSTD_CCtx_setParameter(context_.get(), ZSTD_c_contentSizeFlag, 1);
        ZSTD_CCtx_setParameter(context_.get(), ZSTD_c_checksumFlag, 1);
    }

    [[nodiscard]] std::size_t bound(std::size_t size_bytes) const override {
        return ZSTD_compressBound(size_bytes);
    }

    [[nodiscard]] std::size_t encode(std::span<const iovec> slices, std::span<std::byte> into) override {
        const auto piece = gatherer_.gather(slices);
        const auto size =
            ZSTD_compress2(context_.get(), into.data(), into.size(), piece.data(), piece.size());
        // With room for its bound, nothing but memory can be short.
        if (ZSTD_isError(size) != 0) throw std::bad_alloc();
        return size;
    }

  private:
    struct Deleter {
        void operator()(ZSTD_CCtx* context) const noexcept { ZSTD_freeCCtx(context); }
    };
    std::unique_ptr<ZSTD_CCtx, Deleter> context_;
    Gatherer gatherer_;
};

class GzipEncoder final : public FrameEncoder {
  public:
    GzipEncoder() {
        if (deflateInit2(&deflater_, kGzipLevel, Z_DEFLATED, kGzipWindowBits, kGzipMemoryLevel,
                         Z_DEFAULT_STRATEGY) != Z_OK)
            throw std::bad_alloc();
    }
    GzipEncoder(const GzipEncoder&) = delete;
    GzipEncoder& operator=(const GzipEncoder&) = delete;
    ~GzipEncoder() override { deflateEnd(&deflater_); }

    [[nodiscard]] std::size_t bound(std::size_t size_bytes) const override {
        // zlib takes the stream as it would change it, but does not.
        return deflateBound(const_cast<z_stream*>(&deflater_), size_bytes);
    }

    [[nodiscard]] std::size_t encode(std::span<const iovec> slices, std::span<std::byte> into) override {
        auto piece = gatherer_.gather(slices);
        std::size_t done = 0;
        int result = Z_OK;
        while (result != Z_STREAM_END) {
            // zlib counts in 32 bits.
            const auto in = std::min<std::size_t>(piece.size(), std::numeric_limits<uInt>::max());
            const auto out = std::min<std::size_t>(into.size() - done, std::numeric_limits<uInt>::max());
            deflater_.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(piece.data()));
            deflater_.avail_in = static_cast<uInt>(in);
            deflater_.next_out = reinterpret_cast<Bytef*>(into.data() + done);
            deflater_.avail_out = static_cast<uInt>(out);
            result = deflate(&deflater_, in == piece.size() ? Z_FINISH : Z_NO_FLUSH);
            // As above; and Z_BUF_ERROR would go on for ever.
            if (result != Z_OK && result != Z_STREAM_END) throw std::bad_alloc();
            piece = piece.subspan(in - deflater_.avail_in);
            done += out - deflater_.avail_out;
        }
        // Now, not before the next piece: deflateBound() forgets gzip's header when a stream has ended.
        deflateReset(&deflater_);
        return done;
    }

  private:
    z_stream deflater_{};
    Gatherer gatherer_;
};

}  // namespace

std::unique_ptr<FrameEncoder> make_frame_encoder(ArchiveFormat format, int zstd_level) {
    if (format == ArchiveFormat::gzip) return std::make_unique<GzipEncoder>();
    return std::make_unique<ZstdEncoder>(zstd_level);
}

}  // namespace vmad::codec
