// Law: a .zst file is read exactly when libzstd reads it, with the same bytes, whether as a stream or as a
// file, with its seek table and several threads or without. A seek table that is found fills the file, and
// each of its frames, alone, is what libzstd makes of it.
#include "codec/archive_source.hpp"
#include "codec/seek_frame.hpp"
#include "codec/stored_piece.hpp"
#include "codec/zstd_form.hpp"
#include "streams.hpp"
#include "support/frame_table.hpp"
#include "support/memory_file.hpp"
#include "support/random.hpp"

namespace vmad::fuzz {
namespace {

constexpr auto kZstd = codec::ArchiveFormat::zstd;

void check_table(io::FileSystem& fs, const io::File& file, View stored) {
    auto found = codec::read_seek_table(fs, file);
    if (!found.table) return;
    auto& table = *found.table;
    require(table.stored_bytes() <= stored.size(), "the frames of a table lie in the file");
    std::uint64_t next = 0;
    for (std::uint64_t i = 0; i < table.size(); ++i) {
        const auto frame = table[i];
        require(frame.stored_offset == next, "each frame of a table begins where the last one ends");
        next += frame.stored_bytes;
        if (i >= 64) continue;
        const auto content = codec::read_frame(fs, file, frame, 1 << 20);
        if (!content) continue;
        require(content->size() == frame.bytes, "a frame that is read has the size that the table says");
        const auto stock = stock_unzstd(stored.subspan(frame.stored_offset, frame.stored_bytes));
        require(stock && *stock == *content, "a frame that is read is what libzstd makes of it");
        Bytes start(std::min<std::size_t>(content->size(), 600));
        if (codec::read_frame_start(fs, file, frame, start))
            require(std::equal(start.begin(), start.end(), content->begin()), "a frame's start is its start");
    }
    require(next == table.stored_bytes(), "the frames are what the table counts");
}

void check_piece(View stored) {
    codec::PieceDecoder decoder(kZstd);
    const auto piece = decoder.take(stored, 1 << 20);
    if (piece.state != codec::StoredPiece::State::whole) return;
    require(piece.stored_bytes <= stored.size(), "a piece lies in the file");
    const auto stock = stock_unzstd(stored.first(piece.stored_bytes));
    require(stock && *stock == piece.content, "a whole piece is what libzstd makes of it");
    require(decoder.may_begin(stored), "where a piece is, one may begin");
}

void check(View stored, std::size_t read_bytes) {
    io::FileSystem fs;
    const auto file = testing::memory_file(stored);
    const auto expected = stock_unzstd(stored);
    check_table(fs, file, stored);
    check_piece(stored);
    testing::MemorySource stream(stored, false);
    const auto decoder = codec::make_decoder(kZstd, stream, {});
    require(read_all(*decoder, read_bytes) == expected, "a stream is read as libzstd reads it");
    if (!begins_zstd_frame(stored) || codec::format_of_content(stored) != kZstd) return;
    for (const unsigned threads : {1, 3}) {
        auto source = codec::ArchiveSource::of_file(fs, file, io::CacheUse::keep, {threads, nullptr});
        require(read_all(source, read_bytes) == expected, "a file is read as libzstd reads it");
    }
}

/// Frames of content, fillings and skippable frames; and a table, which may lie.
Bytes make_stream(Input& input) {
    Bytes stored;
    testing::FrameTable table;
    const auto add = [&](View bytes, std::size_t content) {
        append(stored, bytes);
        table.add(static_cast<std::uint32_t>(bytes.size()), static_cast<std::uint32_t>(content));
    };
    for (auto count = input.below(12); count > 0; --count) {
        switch (input.below(6)) {
            case 0: {
                Bytes content(input.below(70000));
                if (input.flag()) testing::Random(input.take()).fill(content);
                add(frame_of(kZstd, content), content.size());
                break;
            }
            case 1: {
                const auto content = input.bytes(input.take());
                add(frame_of(kZstd, content), content.size());
                break;
            }
            case 2:
                append(stored, codec::make_filling(codec::filling_bytes(stored.size())));
                break;
            case 3: {
                Bytes skippable(8 + input.take());
                testing::put_le(&skippable[0], 4, 0x184d2a50 + input.below(16));
                testing::put_le(&skippable[4], 4, skippable.size() - 8);
                add(skippable, 0);
                break;
            }
            case 4:
                append(stored, input.bytes(input.below(40)));
                break;
            default:
                if (table.frames.empty()) break;
                auto& frame = table.frames[input.below(table.frames.size())];
                auto& field = input.flag() ? frame.bytes : frame.stored_bytes;
                field += static_cast<std::uint32_t>(static_cast<std::int8_t>(input.take()));
        }
        // Skippable bytes that were not listed belong to the frame before.
        if (!table.frames.empty() && input.flag())
            table.frames.back().stored_bytes =
                static_cast<std::uint32_t>(stored.size() - table.frames.back().stored_offset);
    }
    auto encoded = table.encode(input.flag() ? 1 : 0);
    if (input.flag()) encoded[input.below(encoded.size())] ^= std::byte{input.take()};
    if (!input.flag()) append(stored, encoded);
    return stored;
}

void run(View bytes) {
    Input input(bytes);
    const bool is_made = input.flag();
    const auto read_bytes = 1 + input.below(100000);
    const auto rest = input.rest();
    Input parts(rest);
    try {
        check(is_made ? make_stream(parts) : Bytes(rest.begin(), rest.end()), read_bytes);
    } catch (const Undecided&) {
    }
}

std::vector<Bytes> seeds() {
    std::vector<Bytes> result;
    for (unsigned seed = 0; seed < 16; ++seed) {
        Bytes made(80);
        testing::Random random(seed);
        random.fill(made);
        made[0] = std::byte{1};
        result.push_back(made);
        Bytes raw(5);
        testing::put_le(&raw[1], 4, random.below(100000));
        append(raw, seed % 2 == 0 ? frame_of(kZstd, View(made).first(seed)) : Bytes());
        Input parts(made);
        auto stream = make_stream(parts);
        if (stream.size() < 20000) append(raw, stream);
        result.push_back(std::move(raw));
    }
    return result;
}

const Registration registration({"zstd", 20, run, seeds});

}  // namespace
}  // namespace vmad::fuzz
