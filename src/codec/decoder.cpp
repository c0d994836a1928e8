#include "codec/decoder.hpp"

#include <stdexcept>
#include <utility>

#include "codec/gzip_members.hpp"
#include "codec/lzop.hpp"
#include "codec/zstd_frames.hpp"
#include "codec/zstd_read_ahead.hpp"

namespace vmad::codec {

std::unique_ptr<Decoder> make_decoder(ArchiveFormat format, io::ByteSource& stored, DecodeOptions options) {
    switch (format) {
        case ArchiveFormat::zstd:
            if (can_read_ahead(options))
                return std::make_unique<ZstdReadAhead>(stored, options.cancel, std::move(*options.seek_table),
                                                       options.threads);
            return std::make_unique<ZstdFrames>(stored, options.cancel, std::move(options.seek_table));
        case ArchiveFormat::gzip:
            return std::make_unique<GzipMembers>(stored, options.cancel);
        case ArchiveFormat::lzo:
            return make_lzop_decoder(stored, options.cancel);
        case ArchiveFormat::raw:
            break;
    }
    throw std::logic_error("a raw archive has no decoder");
}

}  // namespace vmad::codec
