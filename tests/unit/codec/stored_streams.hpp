// Compressed streams for the tests of codec: made-up content, frames of it, programs that check them.
#pragma once

#include <stdio.h>
#include <sys/wait.h>

#include <array>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "codec/decoder.hpp"
#include "codec/frame_encoder.hpp"
#include "support/frame_table.hpp"
#include "support/memory_file.hpp"
#include "support/random.hpp"
#include "support/temporary_directory.hpp"

namespace vmad::codec {

using testing::Bytes;
using testing::FrameTable;
using testing::Random;
using testing::View;

/// Runs of zeros, repeats and noise, as disks have them.
inline Bytes made_up_content(Random& random, std::size_t size) {
    Bytes content(size);
    for (std::size_t at = 0; at < size;) {
        const auto length = std::min<std::size_t>(size - at, 1 + random.below(20000));
        const auto run = std::span(content).subspan(at, length);
        const auto format = random.below(3);
        if (format == 0) random.fill(run);
        if (format == 1)
            for (std::size_t i = 0; i < length; ++i) run[i] = static_cast<std::byte>(i % 251);
        at += length;
    }
    return content;
}

inline void append(Bytes& to, View bytes) { to.insert(to.end(), bytes.begin(), bytes.end()); }

inline Bytes encode(FrameEncoder& encoder, View piece) {
    Bytes frame(encoder.bound(piece.size()));
    const iovec slice{const_cast<std::byte*>(piece.data()), piece.size()};
    frame.resize(encoder.encode({&slice, 1}, frame));
    return frame;
}

/// A stream, what it holds, and where its frames are.
struct Stream {
    Bytes stored;
    Bytes content;
    FrameTable table;
    FrameEnds ends;
};

inline Stream encode_pieces(ArchiveFormat format, const std::vector<Bytes>& pieces, bool with_table = false) {
    const auto encoder = make_frame_encoder(format, 1);
    Stream stream;
    for (const auto& piece : pieces) {
        const auto frame = encode(*encoder, piece);
        stream.table.add(static_cast<std::uint32_t>(frame.size()), static_cast<std::uint32_t>(piece.size()));
        append(stream.stored, frame);
        append(stream.content, piece);
        stream.ends.add(stream.content.size());
    }
    if (with_table) append(stream.stored, stream.table.encode());
    return stream;
}

inline Stream made_up_stream(ArchiveFormat format, Random& random, std::size_t pieces, std::size_t max_size,
                             bool with_table = false) {
    std::vector<Bytes> list;
    for (std::size_t i = 0; i < pieces; ++i)
        list.push_back(made_up_content(random, random.chance(0.1) ? 0 : random.below(max_size + 1)));
    return encode_pieces(format, list, with_table);
}

/// All that a decoder says about a stream.
struct Decoded {
    Bytes bytes;  ///< by the reads before the one that failed
    std::string error;
    std::string warning;
    FrameEnds ends;
    bool checked = true;
    friend bool operator==(const Decoded&, const Decoded&) = default;
};

/// Reads in pieces of random sizes, cut into slices, some of them empty; the same ones for the same seed.
inline Decoded decode(ArchiveFormat format, View stored, DecodeOptions options = {}, std::uint64_t seed = 1,
                      std::uint64_t max_read = 300000) {
    Random random(seed);
    testing::MemorySource source(stored);
    const auto decoder = make_decoder(format, source, std::move(options));
    Decoded result;
    Bytes buffer(max_read);
    try {
        while (true) {
            const auto size = random.chance(0.2) ? 1 + random.below(600) : 1 + random.below(max_read);
            const auto first = random.below(size + 1);
            std::array<iovec, 3> slices{iovec{buffer.data(), first}, iovec{buffer.data() + first, 0},
                                        iovec{buffer.data() + first, size - first}};
            const auto count = decoder->read(slices);
            append(result.bytes, View(buffer).first(count));
            if (count < size) break;
        }
    } catch (const base::Error& error) {
        result.error = error.what();
    }
    result.warning = decoder->warning();
    if (result.error.empty()) {
        result.ends = decoder->frame_ends();
        result.checked = decoder->frames_checked();
    }
    return result;
}

/// What a decoder must say about a stream without fault.
inline Decoded sound(const Stream& stream) { return {stream.content, "", "", stream.ends, true}; }

/// What a shell command writes; its exit status must be 0.
inline std::string output_of(const std::string& command) {
    FILE* pipe = ::popen(command.c_str(), "r");
    if (pipe == nullptr) throw std::runtime_error("popen");
    std::string output;
    std::array<char, 65536> buffer;
    while (const auto count = ::fread(buffer.data(), 1, buffer.size(), pipe))
        output.append(buffer.data(), count);
    if (::pclose(pipe) != 0) throw std::runtime_error("failed: " + command + "\n" + output);
    return output;
}

inline std::string text_of(View bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }
inline Bytes bytes_of(const std::string& text) {
    const auto* begin = reinterpret_cast<const std::byte*>(text.data());
    return {begin, begin + text.size()};
}

}  // namespace vmad::codec
