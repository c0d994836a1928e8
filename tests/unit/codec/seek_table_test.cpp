#include "codec/seek_table.hpp"

#include <doctest/doctest.h>

#include "codec/seek_frame.hpp"
#include "stored_streams.hpp"

namespace vmad::codec {
namespace {

struct Found {
    std::optional<FrameTable> table;
    std::string defect;
    bool has_checksums = false;
};

Found find(View stored) {
    io::FileSystem fs;
    const auto file = testing::memory_file(stored);
    auto found = read_seek_table(fs, file);
    if (!found.table) return {std::nullopt, found.defect};
    const bool has_checksums = found.table->has_checksums();
    return {FrameTable::read(std::move(*found.table)), found.defect, has_checksums};
}

void check_equal(const FrameTable& a, const FrameTable& b) {
    REQUIRE(a.frames.size() == b.frames.size());
    for (std::size_t i = 0; i < a.frames.size(); ++i) {
        CHECK(a.frames[i].stored_offset == b.frames[i].stored_offset);
        CHECK(a.frames[i].stored_bytes == b.frames[i].stored_bytes);
        CHECK(a.frames[i].bytes == b.frames[i].bytes);
    }
}

TEST_CASE("the encoded bytes are those of the format") {
    const auto all = [](std::uint64_t count, const std::vector<std::array<std::byte, 12>>& entries) {
        Bytes table;
        append(table, SeekTable::encode_header(count));
        for (const auto& entry : entries) append(table, entry);
        append(table, SeekTable::encode_footer(count));
        return table;
    };
    CHECK(all(0, {}) == bytes_of(std::string("\x5e\x2a\x4d\x18\x09\0\0\0\0\0\0\0\x80\xb1\xea\x92\x8f", 17)));
    CHECK(
        all(2, {SeekTable::encode_entry(0x01020304, 0x05060708, 0x090a0b0c),
                SeekTable::encode_entry(1, 0xffffffff, 0)}) ==
        bytes_of(std::string("\x5e\x2a\x4d\x18\x21\0\0\0\4\3\2\1\x8\7\6\5\xc\xb\xa\x9\1\0\0\0\xff\xff\xff\xff"
                             "\0\0\0\0\2\0\0\0\x80\xb1\xea\x92\x8f",
                             41)));
}

TEST_CASE("a table that was encoded behind its frames is found again") {
    Random random(1);
    for (int i = 0; i < 30; ++i) {
        const auto stream = made_up_stream(ArchiveFormat::zstd, random, random.below(30), 2000, true);
        const auto found = find(stream.stored);
        REQUIRE(found.table);
        CHECK(found.defect == "");
        check_equal(*found.table, stream.table);
    }
    FrameTable many;
    for (std::uint32_t i = 0; i < 10000; ++i) many.add(i % 7, i);
    Bytes stored(many.frames.back().stored_offset + many.frames.back().stored_bytes);
    append(stored, many.encode());
    REQUIRE(find(stored).table);
    check_equal(*find(stored).table, many);
}

/// A table with checksums, made by hand, behind `before` bytes.
Bytes with_checksums(std::size_t before, unsigned descriptor) {
    Bytes stored(before);
    Bytes table(8 + 2 * 12 + 9, std::byte{0xcc});
    testing::put_le(table.data(), 4, 0x184d2a5e);
    testing::put_le(table.data() + 4, 4, table.size() - 8);
    testing::put_le(table.data() + 8, 4, 10);
    testing::put_le(table.data() + 12, 4, 1000);
    testing::put_le(table.data() + 20, 4, 20);
    testing::put_le(table.data() + 24, 4, 2000);
    testing::put_le(table.data() + 32, 4, 2);
    table[36] = static_cast<std::byte>(descriptor);
    testing::put_le(table.data() + 37, 4, 0x8f92eab1);
    append(stored, table);
    return stored;
}

TEST_CASE("checksums in a table are passed over, unused bits ignored") {
    FrameTable expected;
    expected.add(10, 1000);
    expected.add(20, 2000);
    for (const unsigned descriptor : {0x80U, 0x81U, 0x83U}) {
        const auto found = find(with_checksums(30, descriptor));
        REQUIRE(found.table);
        CHECK(found.has_checksums);
        check_equal(*found.table, expected);
    }
}

TEST_CASE("a table that does not fit its file is none, and why is said") {
    const std::string prefix = "the file ends in a seek table that does not fit it: ";
    const auto defect = [&](const Bytes& stored) {
        const auto found = find(stored);
        CHECK(!found.table);
        CHECK((found.defect.empty() || found.defect.starts_with(prefix)));
        return found.defect.empty() ? "" : found.defect.substr(prefix.size());
    };
    for (const unsigned bit : {0x04U, 0x08U, 0x10U, 0x20U, 0x40U})
        CHECK(defect(with_checksums(30, 0x80U | bit)) == "it has flags that mean nothing yet");
    CHECK(defect(with_checksums(29, 0x80)) == "its frames have 30 bytes, the file has 29 before it");
    CHECK(defect(with_checksums(31, 0x80)) == "its frames have 30 bytes, the file has 31 before it");
    CHECK(defect(with_checksums(30, 0)) == "it does not begin at byte 38, where 2 frames put it");

    FrameTable table;
    table.add(30, 100);
    Bytes good(30);
    append(good, table.encode());
    REQUIRE(find(good).table);
    const auto with = [&](std::size_t from_end, std::uint64_t value) {
        auto stored = good;
        testing::put_le(stored.data() + stored.size() - from_end, 4, value);
        return stored;
    };
    CHECK(defect(with(25, 0x184d2a5d)) == "it does not begin at byte 30, where 1 frames put it");
    CHECK(defect(with(21, 16)) == "it does not begin at byte 30, where 1 frames put it");
    CHECK(defect(with(17, 0xffffffff)) == "its frames have 4294967295 bytes, the file has 30 before it");
    CHECK(defect(with(9, 0)) == "it does not begin at byte 38, where 0 frames put it");
    CHECK(defect(with(9, 4)) == "it does not begin at byte 6, where 4 frames put it");
    CHECK(defect(with(9, 5)) == "5 frames make it larger than the file");
    CHECK(defect(with(9, 0xffffffff)) == "4294967295 frames make it larger than the file");

    for (std::size_t size = 0; size < good.size(); ++size) CHECK(defect(Bytes(size)) == "");
    for (std::size_t size = 1; size < 17; ++size)
        CHECK(defect(Bytes(good.end() - static_cast<std::ptrdiff_t>(size), good.end())) == "");
}

TEST_CASE("no memory is taken for more frames than any archive has") {
    io::FileSystem fs;
    const auto file = testing::memory_file();
    const std::uint64_t count = kMaxSeekFrames + 1;
    const auto size = count * 8 + 17 + 1000;
    Bytes footer(9);
    testing::put_le(footer.data(), 4, count);
    testing::put_le(footer.data() + 5, 4, 0x8f92eab1);
    iovec slice{footer.data(), footer.size()};
    io::write_fully_at(fs, file, {&slice, 1}, size - 9);
    CHECK(read_seek_table(fs, file).defect ==
          "the file ends in a seek table that does not fit it: it has 33558529 frames, more than 33558528");
}

TEST_CASE("single frames are read by the table") {
    Random random(2);
    const auto stream = made_up_stream(ArchiveFormat::zstd, random, 20, 500000, true);
    io::FileSystem fs;
    const auto file = testing::memory_file(stream.stored);
    std::uint64_t offset = 0;
    for (const auto& frame : stream.table.frames) {
        const auto piece = View(stream.content).subspan(offset, frame.bytes);
        offset += frame.bytes;
        const Bytes expected(piece.begin(), piece.end());
        CHECK(read_frame(fs, file, frame, 500000) == expected);
        CHECK(read_frame(fs, file, frame, frame.bytes) == expected);
        if (frame.bytes > 0) CHECK(!read_frame(fs, file, frame, frame.bytes - 1));
        for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{512}, piece.size() / 2,
                                       piece.size(), piece.size() + 1}) {
            Bytes start(size);
            const bool there = read_frame_start(fs, file, frame, start);
            CHECK(there == (size <= piece.size()));
            if (there) CHECK(std::equal(start.begin(), start.end(), piece.begin()));
        }
    }
}

TEST_CASE("a frame that is not as its table says is none") {
    Random random(3);
    const auto stream =
        encode_pieces(ArchiveFormat::zstd,
                      {made_up_content(random, 50000), made_up_content(random, 60000), Bytes(70000)}, true);
    io::FileSystem fs;
    const auto file = testing::memory_file(stream.stored);
    const auto good = stream.table.frames[1];
    std::vector<SeekFrame> wrong(6, good);
    ++wrong[0].stored_offset;
    --wrong[1].stored_offset;
    wrong[2].stored_offset = stream.stored.size();
    ++wrong[3].bytes;
    --wrong[4].bytes;
    wrong[5].stored_bytes = 10;
    Bytes start(512);
    CHECK(read_frame_start(fs, file, good, start));
    for (const auto& frame : wrong) {
        CHECK(!read_frame(fs, file, frame, 1000000));
        CHECK(!read_frame_start(fs, file, frame, start));
    }
    for (const int change : {-1, 1}) {
        auto frame = good;
        frame.stored_bytes += static_cast<std::uint32_t>(change);
        CHECK(!read_frame(fs, file, frame, 1000000));
    }
    auto whole = good;  // two frames are not one
    whole.stored_bytes += stream.table.frames[2].stored_bytes;
    whole.bytes += stream.table.frames[2].bytes;
    CHECK(!read_frame(fs, file, whole, 1000000));

    for (int i = 0; i < 200; ++i) {
        auto stored = stream.stored;
        stored[good.stored_offset + random.below(good.stored_bytes)] ^= std::byte{1} << random.below(8);
        const auto read = read_frame(fs, testing::memory_file(stored), good, 1000000);
        if (read) CHECK(std::equal(read->begin(), read->end(), stream.content.begin() + 50000));
    }
}

TEST_CASE("a frame without size or checksum is not trusted, nor is its start") {
    const support::TemporaryDirectory directory;
    directory.write("a", std::string(3000, 'a'));
    io::FileSystem fs;
    Bytes start(512);
    const auto trusted = [&](const std::string& options) {
        const auto stored = bytes_of(output_of("zstd -q -c " + options + " " + (directory / "a")));
        const SeekFrame frame{0, static_cast<std::uint32_t>(stored.size()), 3000};
        const auto file = testing::memory_file(stored);
        const bool is_trusted = read_frame_start(fs, file, frame, start);
        CHECK(read_frame(fs, file, frame, 3000).has_value() == is_trusted);
        return is_trusted;
    };
    CHECK(trusted(""));
    CHECK(!trusted("--no-check"));
    CHECK(!trusted("--no-content-size"));
}

TEST_CASE("little is read for the start of a frame") {
    class Counting final : public io::FileSystem {
      public:
        std::size_t bytes = 0;
        [[nodiscard]] std::size_t read_at(const io::File& file, std::span<const iovec> into,
                                          std::uint64_t offset) override {
            const auto count = FileSystem::read_at(file, into, offset);
            bytes += count;
            return count;
        }
    } fs;
    Random random(4);
    Bytes noise(4000000);
    random.fill(noise);
    const auto stream = encode_pieces(ArchiveFormat::zstd, {noise});
    const auto file = testing::memory_file(stream.stored);
    Bytes start(12288);
    CHECK(read_frame_start(fs, file, stream.table.frames[0], start));
    CHECK(std::equal(start.begin(), start.end(), noise.begin()));
    CHECK(fs.bytes < 300000);
}

}  // namespace
}  // namespace vmad::codec
