// Streams with fillings before their frames, and which of them have the form of a canonical archive.
#include "codec/zstd_form.hpp"

#include <functional>

#include <doctest/doctest.h>

#include "stored_streams.hpp"

namespace vmad::codec {
namespace {

constexpr auto kZstd = ArchiveFormat::zstd;

using Pieces = std::vector<Bytes>;
using Filling = std::function<Bytes(const Pieces&, std::size_t frame, std::uint64_t offset)>;

Bytes right_filling(const Pieces& pieces, std::size_t frame, std::uint64_t offset) {
    return frame > 0 && pieces[frame].size() > 4096 ? make_filling(filling_bytes(offset)) : Bytes();
}

/// A stream as a canonical archive has it, and what can be wrong with it.
struct Form {
    Pieces pieces;
    /// What stands before a frame, at this byte of the file.
    Filling filling = right_filling;
    bool fillings_listed = false;  ///< as entries of their own
    bool checksums = true;
    std::function<void(Bytes&)> change_table = [](Bytes&) {};

    struct Result {
        Stream stream;
        FrameTable table;
        Bytes stored;
    };
    [[nodiscard]] Result build() const {
        Result result;
        const auto encoder = make_frame_encoder(kZstd, 1);
        Bytes entries;
        const auto add = [&](std::size_t stored_bytes, std::size_t bytes, std::uint32_t checksum) {
            result.table.add(static_cast<std::uint32_t>(stored_bytes), static_cast<std::uint32_t>(bytes));
            const auto entry = SeekTable::encode_entry(stored_bytes, bytes, checksum);
            append(entries, View(entry).first(checksums ? 12 : 8));
        };
        for (std::size_t i = 0; i < pieces.size(); ++i) {
            auto frame = encode(*encoder, pieces[i]);
            const auto checksum = frame_checksum(frame);
            const auto end = result.stored.size() + frame.size();
            const auto behind = i + 1 < pieces.size() ? filling(pieces, i + 1, end) : Bytes();
            add(frame.size() + (fillings_listed ? 0 : behind.size()), pieces[i].size(), checksum);
            if (fillings_listed && !behind.empty()) add(behind.size(), 0, 0);
            append(result.stored, frame);
            append(result.stored, behind);
            append(result.stream.content, pieces[i]);
            result.stream.ends.add(result.stream.content.size());
        }
        Bytes table(8);
        testing::put_le(table.data(), 4, 0x184d2a5e);
        testing::put_le(&table[4], 4, entries.size() + 9);
        append(table, entries);
        auto footer = SeekTable::encode_footer(result.table.frames.size());
        if (!checksums) footer[4] = std::byte{0};
        append(table, footer);
        change_table(table);
        append(result.stored, table);
        return result;
    }
};

Form made_up_form(std::uint64_t seed) {
    Random random(seed);
    Form form;
    form.pieces.push_back(made_up_content(random, 65536));
    for (std::size_t i = 0; i < 12; ++i)
        form.pieces.push_back(random.chance(0.5) ? Bytes(512 * (1 + random.below(8)))
                                                 : made_up_content(random, 4608 + random.below(100000)));
    form.pieces.push_back(made_up_content(random, 100000));
    return form;
}

/// Reads it all, without its table and with several threads by it.
bool is_canonical_form(const Form::Result& built) {
    bool result = true;
    for (const bool by_table : {false, true}) {
        testing::MemorySource source(built.stored);
        DecodeOptions options;
        if (by_table) options = {3, nullptr, built.table};
        const auto decoder = make_decoder(kZstd, source, std::move(options));
        Bytes content(built.stream.content.size() + 1);
        iovec all{content.data(), content.size()};
        CHECK(decoder->read({&all, 1}) == built.stream.content.size());
        CHECK(decoder->warning() == "");
        if (by_table)
            CHECK(result == decoder->is_canonical_form());
        else
            result = decoder->is_canonical_form();
    }
    return result;
}

TEST_CASE("a filling ends at a page, and has room for its header and 80 zeros") {
    CHECK(filling_bytes(0) == 4096);
    CHECK(filling_bytes(1) == 4095);
    CHECK(filling_bytes(4096 - 88) == 88);
    CHECK(filling_bytes(4096 - 87) == 4096 + 87);
    CHECK(filling_bytes(3 * 4096 - 1) == 4097);
    const auto filling = make_filling(100);
    Bytes expected(100, std::byte{0x55});
    testing::put_le(expected.data(), 4, 0x184d2a50);
    testing::put_le(&expected[4], 4, 92);
    std::fill(expected.end() - 80, expected.end(), std::byte{0});
    CHECK(filling == expected);
}

TEST_CASE("frames with fillings are read in parallel, however the table lists those") {
    for (std::uint64_t seed = 0; seed < 10; ++seed) {
        auto form = made_up_form(seed);
        form.fillings_listed = seed % 2 == 1;
        form.checksums = seed % 3 != 0;
        const auto built = form.build();
        for (const unsigned threads : {1U, 2U, 5U})
            CHECK(decode(kZstd, built.stored, {threads, nullptr, built.table}, seed) == sound(built.stream));
        CHECK(is_canonical_form(built) == (!form.fillings_listed && form.checksums));
    }
}

TEST_CASE("any other filling or table is not canonical") {
    const auto with_filling = [](Filling filling) {
        auto form = made_up_form(77);
        form.pieces.emplace_back(512);
        form.filling = std::move(filling);
        return is_canonical_form(form.build());
    };
    const auto last = made_up_form(77).pieces.size() - 1;  // that has a filling
    CHECK(with_filling(right_filling));
    // Before frame `place`, another one.
    const auto with_other = [&](std::size_t place, const std::function<Bytes(std::uint64_t)>& other) {
        return with_filling([&](const Pieces& pieces, std::size_t frame, std::uint64_t at) {
            return frame == place ? other(at) : right_filling(pieces, frame, at);
        });
    };
    CHECK_FALSE(with_other(last, [](auto) { return Bytes(); }));
    CHECK_FALSE(with_other(last, [](auto at) { return make_filling(filling_bytes(at) + 4096); }));
    CHECK_FALSE(with_other(last, [](auto at) { return make_filling(filling_bytes(at + 1)); }));
    // Before a frame without payload.
    CHECK_FALSE(with_other(last + 1, [](auto at) { return make_filling(filling_bytes(at)); }));
    CHECK_FALSE(with_other(last, [](auto at) {
        auto filling = make_filling(filling_bytes(at));
        filling[0] = std::byte{0x51};  // another skippable frame
        return filling;
    }));
    for (const std::size_t from_end : {1U, 80U, 81U})
        CHECK_FALSE(with_other(last, [from_end](auto at) {
            auto filling = make_filling(filling_bytes(at));
            filling[filling.size() - from_end] ^= std::byte{1};
            return filling;
        }));
    auto table = made_up_form(78);
    CHECK(is_canonical_form(table.build()));
    const auto size = 8 + 12 * table.pieces.size() + 9;
    for (const std::size_t at : {std::size_t{16}, size - 9 - 1, std::size_t{8}}) {
        table.change_table = [at](Bytes& bytes) { bytes[at] ^= std::byte{1}; };
        CHECK_FALSE(is_canonical_form(table.build()));
    }
    table.change_table = [](Bytes& bytes) { append(bytes, make_filling(100)); };
    CHECK_FALSE(is_canonical_form(table.build()));
}

}  // namespace
}  // namespace vmad::codec
