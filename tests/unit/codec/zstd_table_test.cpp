// Seek tables that do not fit the frames before them: the bytes are those of the frames, and a warning says
// so.
#include <functional>

#include <doctest/doctest.h>

#include "stored_streams.hpp"

namespace vmad::codec {
namespace {

constexpr auto kZstd = ArchiveFormat::zstd;

std::string warning_from(std::uint64_t stored_offset) {
    return "the seek table does not match the frames from byte " + std::to_string(stored_offset) +
           " of the file on, so it was not used";
}

/// The same sizes once more, with offsets that follow from them.
FrameTable rebuilt(const FrameTable& table) {
    FrameTable result;
    for (const auto& frame : table.frames) result.add(frame.stored_bytes, frame.bytes);
    return result;
}

/// Behind the frames, so that the table is one that read_seek_table() would find.
Bytes with_table(const Stream& stream, const FrameTable& table) {
    auto stored = stream.stored;
    append(stored, table.encode());
    return stored;
}

void check_warning(const Stream& stream, const FrameTable& wrong, std::uint64_t stored_offset) {
    const auto stored = with_table(stream, wrong);
    io::FileSystem fs;
    const auto file = testing::memory_file(stored);
    const auto found = read_seek_table(fs, file);
    REQUIRE(found.table);
    auto expected = sound(stream);
    expected.warning = warning_from(stored_offset);
    for (const unsigned threads : {1U, 2U, 7U})
        for (std::uint64_t seed = 0; seed < 3; ++seed)
            CHECK(decode(kZstd, stored, {threads, nullptr, found.table}, seed) == expected);
}

TEST_CASE("a table that is wrong in one frame is used up to there, and then no more" *
          doctest::test_suite("single-threaded")) {
    Random random(1);
    std::vector<Bytes> pieces;
    for (int i = 0; i < 12; ++i) pieces.push_back(made_up_content(random, 1000 + random.below(200000)));
    const auto stream = encode_pieces(kZstd, pieces);
    const auto& frames = stream.table.frames;
    for (std::size_t k = 0; k + 1 < frames.size(); ++k) {
        CAPTURE(k);
        const auto check = [&](const std::function<void(FrameTable&)>& change) {
            auto wrong = stream.table;
            change(wrong);
            check_warning(stream, rebuilt(wrong), frames[k].stored_offset);
        };
        check([k](FrameTable& table) {  // sizes shifted between two frames
            ++table.frames[k].stored_bytes;
            --table.frames[k + 1].stored_bytes;
        });
        check([k](FrameTable& table) {
            --table.frames[k].stored_bytes;
            ++table.frames[k + 1].stored_bytes;
        });
        check([k](FrameTable& table) { ++table.frames[k].bytes; });
        check([k](FrameTable& table) { --table.frames[k].bytes; });
        check([k](FrameTable& table) { table.frames[k].bytes = 0; });
        check([k](FrameTable& table) { table.frames[k].bytes = 0xffffffff; });  // no reading ahead
        check([k](FrameTable& table) {                                          // two frames merged
            table.frames[k].stored_bytes += table.frames[k + 1].stored_bytes;
            table.frames[k].bytes += table.frames[k + 1].bytes;
            table.frames.erase(table.frames.begin() + static_cast<std::ptrdiff_t>(k) + 1);
        });
        check([k](FrameTable& table) {  // one frame split
            auto half = table.frames[k];
            half.stored_bytes /= 2;
            half.bytes /= 2;
            table.frames[k].stored_bytes -= half.stored_bytes;
            table.frames[k].bytes -= half.bytes;
            table.frames.insert(table.frames.begin() + static_cast<std::ptrdiff_t>(k), half);
        });
        check([k](FrameTable& table) {  // a frame that is not there
            table.frames.insert(table.frames.begin() + static_cast<std::ptrdiff_t>(k), SeekFrame{});
        });
    }
    auto longer = stream.table;
    longer.add(0, 0);
    check_warning(stream, longer, stream.stored.size());
}

TEST_CASE("the table of another file with the same total") {
    Random random(2);
    auto stream = made_up_stream(kZstd, random, 10, 50000);
    const auto other = made_up_stream(kZstd, random, 10, 50000);
    auto table = other.table;
    // A skippable frame evens the totals out, and the other table has one, too.
    const auto total = std::max(stream.stored.size(), other.stored.size()) + 8;
    Bytes filler(total - stream.stored.size());
    testing::put_le(filler.data(), 4, 0x184d2a50);
    testing::put_le(filler.data() + 4, 4, filler.size() - 8);
    append(stream.stored, filler);
    table.add(static_cast<std::uint32_t>(total - other.stored.size()), 0);
    check_warning(stream, table, 0);
}

TEST_CASE("a table for more than the source has") {
    Random random(3);
    const auto stream = made_up_stream(kZstd, random, 6, 50000, true);
    for (const auto& frame : stream.table.frames) {
        const auto stored = View(stream.stored).first(frame.stored_offset);
        const auto serial = decode(kZstd, stored, {1, nullptr, stream.table});
        CHECK(serial.error == "");
        CHECK(serial.warning == warning_from(stored.size()));
        for (const unsigned threads : {2U, 5U})
            CHECK(decode(kZstd, stored, {threads, nullptr, stream.table}) == serial);
    }
}

TEST_CASE("a damaged frame is an error and no fault of the table") {
    Random random(4);
    std::vector<Bytes> pieces;
    for (int i = 0; i < 8; ++i) pieces.push_back(made_up_content(random, 100000));
    const auto stream = encode_pieces(kZstd, pieces, true);
    for (const auto& frame : stream.table.frames) {
        auto stored = stream.stored;
        stored[frame.stored_offset + frame.stored_bytes - 1] ^= std::byte{1};  // of the checksum
        const auto plain = decode(kZstd, stored);
        CHECK(plain.error.ends_with("Restored data doesn't match checksum"));
        CHECK(plain.warning == "");
        for (const unsigned threads : {1U, 2U, 5U})
            CHECK(decode(kZstd, stored, {threads, nullptr, stream.table}) == plain);
    }
}

TEST_CASE("what follows the table, or is missing of it, is an error as without the table") {
    Random random(5);
    const auto stream = made_up_stream(kZstd, random, 4, 50000, true);
    auto longer = stream.stored;
    longer.push_back(std::byte{0});
    for (const auto& stored : {View(longer), View(stream.stored).first(stream.stored.size() - 1)}) {
        const auto plain = decode(kZstd, stored);
        CHECK(plain.error != "");
        for (const unsigned threads : {1U, 4U})
            CHECK(decode(kZstd, stored, {threads, nullptr, stream.table}) == plain);
    }
}

}  // namespace
}  // namespace vmad::codec
