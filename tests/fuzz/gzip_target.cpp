// Law: a .gz file is read exactly when zlib reads it, member by member with zeros behind the last one, and
// gives the same bytes, however it is read. A member that is found alone is what zlib makes of it.
#include <array>

#include "codec/decoder.hpp"
#include "codec/frame_encoder.hpp"
#include "codec/stored_piece.hpp"
#include "stock_codecs.hpp"
#include "support/memory_file.hpp"
#include "support/random.hpp"

namespace vmad::fuzz {
namespace {

std::optional<Bytes> read_all(View stored, std::size_t read_bytes) {
    testing::MemorySource stream(stored, false);
    const auto decoder = codec::make_decoder(codec::ArchiveFormat::gzip, stream, {});
    Bytes content;
    Bytes piece(read_bytes);
    try {
        while (true) {
            std::array<iovec, 2> slices{iovec{piece.data(), read_bytes / 3},
                                        iovec{piece.data() + read_bytes / 3, read_bytes - read_bytes / 3}};
            const auto count = decoder->read(slices);
            append_content(content, piece, count);
            if (count < read_bytes) return content;
        }
    } catch (const base::Error&) {
        return std::nullopt;
    }
}

Bytes member_of(View content) {
    const auto encoder = codec::make_frame_encoder(codec::ArchiveFormat::gzip, 1);
    const auto slice = io::const_slice(content);
    Bytes member(encoder->bound(content.size()));
    member.resize(encoder->encode({&slice, 1}, member));
    return member;
}

Bytes make_stream(Input& input) {
    Bytes stored;
    const auto add = [&](View bytes) { stored.insert(stored.end(), bytes.begin(), bytes.end()); };
    while (!input.empty()) {
        switch (input.below(5)) {
            case 0: {
                Bytes content(input.below(70000));
                if (input.flag()) testing::Random(input.take()).fill(content);
                add(member_of(content));
                break;
            }
            case 1:
                add(member_of(input.bytes(input.take())));
                break;
            case 2:
                add(Bytes(input.take()));
                break;
            case 3:
                add(input.bytes(input.below(20)));
                break;
            default:
                if (!stored.empty()) stored[input.below(stored.size())] ^= std::byte{input.take()};
        }
        if (stored.size() > (1 << 20)) break;
    }
    return stored;
}

void check(View stored, std::size_t read_bytes) {
    require(read_all(stored, read_bytes) == stock_gunzip(stored), "a stream is read as zlib reads it");
    codec::PieceDecoder decoder(codec::ArchiveFormat::gzip);
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
            const auto member = member_of(View(made).first(seed * 4));
            raw.insert(raw.end(), member.begin(), member.end());
        }
        raw.resize(raw.size() + seed);
        result.push_back(std::move(raw));
    }
    return result;
}

const Registration registration({"gzip", 20, run, seeds});

}  // namespace
}  // namespace vmad::fuzz
