// Law: a .gz file is read exactly when zlib reads it, member by member with zeros behind the last one, and
// gives the same bytes, however it is read. A member that is found alone is what zlib makes of it.
#include "codec/decoder.hpp"
#include "codec/stored_piece.hpp"
#include "streams.hpp"
#include "support/memory_file.hpp"
#include "support/random.hpp"

namespace vmad::fuzz {
namespace {

constexpr auto kGzip = codec::ArchiveFormat::gzip;

Bytes make_stream(Input& input) {
    Bytes stored;
    while (!input.empty()) {
        switch (input.below(5)) {
            case 0: {
                Bytes content(input.below(70000));
                if (input.flag()) testing::Random(input.take()).fill(content);
                append(stored, frame_of(kGzip, content));
                break;
            }
            case 1:
                append(stored, frame_of(kGzip, input.bytes(input.take())));
                break;
            case 2:
                append(stored, Bytes(input.take()));
                break;
            case 3:
                append(stored, input.bytes(input.below(20)));
                break;
            default:
                if (!stored.empty()) stored[input.below(stored.size())] ^= std::byte{input.take()};
        }
        if (stored.size() > (1 << 20)) break;
    }
    return stored;
}

void check(View stored, std::size_t read_bytes) {
    testing::MemorySource stream(stored, false);
    const auto stream_decoder = codec::make_decoder(kGzip, stream, {});
    require(read_all(*stream_decoder, read_bytes) == stock_gunzip(stored),
            "a stream is read as zlib reads it");
    codec::PieceDecoder decoder(kGzip);
    const auto piece = decoder.take(stored, 1 << 20);
    if (piece.state != codec::StoredPiece::State::whole) return;
    require(piece.stored_bytes <= stored.size(), "a piece lies in the file");
    const auto stock = stock_gunzip(stored.first(piece.stored_bytes));
    require(stock && *stock == piece.content, "a whole member is what zlib makes of it");
    require(decoder.may_begin(stored), "where a member is, one may begin");
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
    for (unsigned seed = 0; seed < 12; ++seed) {
        Bytes made(60);
        testing::Random random(seed);
        random.fill(made);
        made[0] = std::byte{1};
        result.push_back(made);
        Bytes raw(5);
        testing::put_le(&raw[1], 4, random.below(100000));
        for (unsigned i = 0; i <= seed % 3; ++i) {
            append(raw, frame_of(kGzip, View(made).first(seed * 4)));
        }
        raw.resize(raw.size() + seed);
        result.push_back(std::move(raw));
    }
    return result;
}

const Registration registration({"gzip", 20, run, seeds});

}  // namespace
}  // namespace vmad::fuzz
