// Compressed files, as the program writes and reads them.
#pragma once

#include <array>
#include <optional>

#include "base/error.hpp"
#include "codec/frame_encoder.hpp"
#include "io/byte_stream.hpp"
#include "stock_codecs.hpp"

namespace vmad::fuzz {

[[nodiscard]] inline Bytes frame_of(codec::ArchiveFormat format, View content) {
    const auto encoder = codec::make_frame_encoder(format, 1);
    const auto slice = io::const_slice(content);
    Bytes frame(encoder->bound(content.size()));
    frame.resize(encoder->encode({&slice, 1}, frame));
    return frame;
}

/// All of a source, `read_bytes` at a time, in two slices; nothing when it is refused. Throws Undecided.
[[nodiscard]] inline std::optional<Bytes> read_all(io::ByteSource& source, std::size_t read_bytes) {
    Bytes content;
    Bytes piece(read_bytes);
    const auto third = read_bytes / 3;
    try {
        while (true) {
            std::array<iovec, 2> slices{iovec{piece.data(), third},
                                        iovec{piece.data() + third, read_bytes - third}};
            const auto count = source.read(slices);
            append_content(content, piece, count);
            if (count < read_bytes) return content;
        }
    } catch (const base::Error&) {
        return std::nullopt;
    }
}

}  // namespace vmad::fuzz
