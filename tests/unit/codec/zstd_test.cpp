#include <doctest/doctest.h>
#include <zstd.h>

#include "stored_streams.hpp"

namespace vmad::codec {
namespace {

constexpr auto kZstd = ArchiveFormat::zstd;

Bytes skippable(std::size_t size) {
    Bytes frame(8 + size, std::byte{0x28});
    testing::put_le(frame.data(), 4, 0x184d2a53);
    testing::put_le(frame.data() + 4, 4, size);
    return frame;
}

TEST_CASE("decoding what was encoded gives it back, with any number of threads") {
    Random random(1);
    for (std::uint64_t seed = 0; seed < 40; ++seed) {
        const auto stream =
            made_up_stream(kZstd, random, 1 + random.below(20), 1 + random.below(700000), seed % 2 == 0);
        CHECK(decode(kZstd, stream.stored, {}, seed) == sound(stream));
        for (const unsigned threads : {1U, 2U, 3U, 8U, 64U})
            CHECK(decode(kZstd, stream.stored, {threads, nullptr, stream.table}, seed) == sound(stream));
    }
}

TEST_CASE("pieces of 16 MiB, around the limit for reading ahead, and none") {
    Random random(2);
    for (const std::size_t size : {(std::size_t{8} << 20) - 1, std::size_t{8} << 20, std::size_t{16} << 20}) {
        const auto stream =
            encode_pieces(kZstd, {{}, made_up_content(random, size), {}, Bytes(size), {}}, true);
        for (const unsigned threads : {1U, 4U})
            for (const std::uint64_t read_bytes : {std::uint64_t{4} << 20, std::uint64_t{64} << 20})
                CHECK(decode(kZstd, stream.stored, {threads, nullptr, stream.table}, 1, read_bytes) ==
                      sound(stream));
    }
    const auto empty = encode_pieces(kZstd, {{}}, true);
    CHECK(decode(kZstd, empty.stored, {4, nullptr, empty.table}) == sound(empty));
    const auto none = encode_pieces(kZstd, {}, true);
    CHECK(decode(kZstd, none.stored, {4, nullptr, none.table}) == sound(none));
}

TEST_CASE("zstd reads what is encoded, with the table") {
    const support::TemporaryDirectory directory;
    Random random(3);
    const auto stream = made_up_stream(kZstd, random, 9, 400000, true);
    directory.write("a.zst", text_of(stream.stored));
    const auto name = directory / "a.zst";
    CHECK(output_of("zstd -q -t " + name + " 2>&1").empty());
    CHECK(output_of("zstd -q -dc " + name) == text_of(stream.content));
    const auto listing = output_of("zstd -lv " + name + " 2>&1");
    CHECK(listing.find("# Zstandard Frames: 9") != std::string::npos);
    CHECK(listing.find("# Skippable Frames: 1") != std::string::npos);
    CHECK(listing.find("Check: XXH64") != std::string::npos);
    CHECK(listing.find("(" + std::to_string(stream.content.size()) + " B)") != std::string::npos);
}

TEST_CASE("what zstd writes is read") {
    const support::TemporaryDirectory directory;
    Random random(4);
    const auto content = made_up_content(random, 3000000);
    directory.write("a", text_of(content));
    const auto name = directory / "a";
    struct Case {
        std::string command;
        bool checked;
    };
    for (const auto& [command, checked] : std::vector<Case>{
             {"zstd -q -1 -c " + name, true},
             {"zstd -q -19 -c " + name, true},
             {"zstd -q --long=27 -c " + name, true},
             {"zstd -q -T0 -B100000 -c " + name, true},
             {"zstd -q --fast=5 --rsyncable -T1 -c " + name, true},
             {"zstd -q --no-check -c " + name, false},
             {"zstd -q --no-content-size -c " + name, false},
             {"zstd -q -c < " + name, false},  // a pipe has no size
             {"(head -c 1000 " + name + " | zstd -q --stream-size=1000; tail -c +1001 " + name +
                  " | zstd -q)",
              false},
         }) {
        CAPTURE(command);
        const auto stored = bytes_of(output_of(command));
        for (std::uint64_t seed = 0; seed < 5; ++seed) {
            const auto decoded = decode(kZstd, stored, {}, seed);
            CHECK(decoded.error == "");
            CHECK(decoded.bytes == content);
            CHECK(decoded.checked == checked);
        }
    }
}

TEST_CASE("skippable frames may stand anywhere and of any size" * doctest::test_suite("single-threaded")) {
    Random random(5);
    const auto stream = made_up_stream(kZstd, random, 5, 3000);
    Bytes stored;
    for (const auto& frame : stream.table.frames) {
        append(stored, skippable(random.below(400000)));
        append(stored, skippable(0));
        append(stored, View(stream.stored).subspan(frame.stored_offset, frame.stored_bytes));
    }
    append(stored, skippable(1));
    CHECK(decode(kZstd, stored) == sound(stream));
    CHECK(decode(kZstd, skippable(7)) == sound(Stream{}));
}

TEST_CASE("a table may list skippable frames as frames without content") {
    Random random(6);
    const auto stream = made_up_stream(kZstd, random, 5, 3000);
    Bytes stored;
    FrameTable table;
    for (const auto& frame : stream.table.frames) {
        append(stored, skippable(100));
        table.add(108, 0);
        append(stored, View(stream.stored).subspan(frame.stored_offset, frame.stored_bytes));
        table.add(frame.stored_bytes, frame.bytes);
    }
    append(stored, table.encode());
    for (const unsigned threads : {1U, 3U})
        CHECK(decode(kZstd, stored, {threads, nullptr, table}) == sound(stream));
}

TEST_CASE("a file that is cut anywhere but between frames is an error" *
          doctest::test_suite("single-threaded")) {
    Random random(7);
    const auto stream = made_up_stream(kZstd, random, 6, 200000, true);
    std::vector<std::size_t> sizes;
    for (int i = 0; i < 200; ++i) sizes.push_back(1 + random.below(stream.stored.size() - 1));
    std::vector<std::size_t> borders;
    for (const auto& frame : stream.table.frames) {
        const auto begin = static_cast<std::size_t>(frame.stored_offset);
        const auto end = begin + frame.stored_bytes;
        borders.insert(borders.end(), {begin, end});
        for (std::size_t near = 1; near < 20 && near < frame.stored_bytes; ++near)
            sizes.insert(sizes.end(), {begin + near, end - near});
    }
    sizes.insert(sizes.end(), borders.begin(), borders.end());
    for (const auto size : sizes) {
        CAPTURE(size);
        const auto stored = View(stream.stored).first(size);
        const auto cut = decode(kZstd, stored, {}, size);
        if (std::find(borders.begin(), borders.end(), size) != borders.end())
            CHECK(cut.error == "");
        else
            CHECK(cut.error.ends_with("the zstd stream ends in the middle of a frame, at byte " +
                                      std::to_string(size) + " of the file"));
        CHECK(cut.bytes.size() <= stream.content.size());
        CHECK(std::equal(cut.bytes.begin(), cut.bytes.end(), stream.content.begin()));
        const auto serial = decode(kZstd, stored, {1, nullptr, stream.table}, size);
        CHECK(serial.error == cut.error);
        CHECK(serial.bytes == cut.bytes);
        CHECK(decode(kZstd, stored, {3, nullptr, stream.table}, size) == serial);
    }
}

/// What libzstd calls a defect depends on the frames that it has decompressed before.
static Decoded without_library_words(Decoded decoded) {
    const std::string before = "of the file: ";
    if (const auto at = decoded.error.find(before); at != std::string::npos)
        decoded.error.resize(at + before.size());
    return decoded;
}

TEST_CASE("a flipped bit never gives other bytes without an error" * doctest::test_suite("single-threaded")) {
    Random random(8);
    const auto stream = made_up_stream(kZstd, random, 8, 60000, true);
    const auto table_at = stream.table.frames.back().stored_offset + stream.table.frames.back().stored_bytes;
    for (int i = 0; i < 300; ++i) {
        auto stored = stream.stored;
        const auto at = i % 3 == 0 ? stored.size() - 1 - random.below(100) : random.below(stored.size());
        const auto bit = random.below(8);
        CAPTURE(at);
        CAPTURE(bit);
        stored[at] ^= std::byte{1} << bit;
        const auto flipped = decode(kZstd, stored, {}, at);
        // What a skippable frame holds is not looked at.
        CHECK((flipped.error.empty() ? flipped.bytes == stream.content
                                     : flipped.bytes.size() <= stream.content.size()));
        if (at < table_at && flipped.error.empty()) CHECK(flipped.bytes == stream.content);
        const auto serial = without_library_words(decode(kZstd, stored, {1, nullptr, stream.table}, at));
        CHECK(serial.error == without_library_words(flipped).error);
        CHECK(serial.bytes == flipped.bytes);
        CHECK(without_library_words(decode(kZstd, stored, {2, nullptr, stream.table}, at)) == serial);
        CHECK(without_library_words(decode(kZstd, stored, {5, nullptr, stream.table}, at)) == serial);
    }
}

TEST_CASE("damage is named with the byte of the file") {
    const auto one = encode_pieces(kZstd, {Bytes(1000)});
    const auto size = one.stored.size();
    const auto of = [](View stored) { return decode(kZstd, stored).error; };
    const auto with = [&](std::initializer_list<unsigned char> more) {
        auto stored = one.stored;
        for (const auto byte : more) stored.push_back(std::byte{byte});
        return of(stored);
    };
    CHECK(with({}) == "");
    const auto garbage =
        "at byte 1000: bytes that are no zstd frame follow at byte " + std::to_string(size) + " of the file";
    CHECK(with({0}) == garbage);
    CHECK(with({0x28, 0xb5, 0x2f, 0xfc}) == garbage);
    CHECK(with({0x28, 0xb5, 0x2e}) == garbage);
    CHECK(with({0x27, 0xb5, 0x2f, 0xfd, 0, 0, 0, 0, 0, 0}) == garbage);
    CHECK(with({0x60, 0x2a, 0x4d, 0x18, 0, 0, 0, 0}) == garbage);
    const auto ends = [&](std::size_t more) {
        return "at byte 1000: the zstd stream ends in the middle of a frame, at byte " +
               std::to_string(size + more) + " of the file";
    };
    CHECK(with({0x28}) == ends(1));
    CHECK(with({0x28, 0xb5, 0x2f, 0xfd}) == ends(4));
    CHECK(with({0x28, 0xb5, 0x2f, 0xfd, 0x64}) == ends(5));
    CHECK(with({0x5a, 0x2a, 0x4d}) == ends(3));
    CHECK(with({0x5a, 0x2a, 0x4d, 0x18, 0, 0, 0}) == ends(7));
    CHECK(with({0x5a, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9}) == ends(9));
    CHECK(with({0x5a, 0x2a, 0x4d, 0x18, 0xff, 0xff, 0xff, 0xff, 9}) == ends(9));

    auto stored = one.stored;
    stored.back() ^= std::byte{1};
    CHECK(of(stored).starts_with("at byte "));
    CHECK(of(stored).find(": the zstd stream is damaged at byte ") != std::string::npos);
    CHECK(of(stored).ends_with(" of the file: Restored data doesn't match checksum"));
}

TEST_CASE("the checksum of the last frame is looked at by the read behind its last byte") {
    auto stream = encode_pieces(kZstd, {Bytes(1000)});
    stream.stored.back() ^= std::byte{1};
    testing::MemorySource source(stream.stored);
    const auto decoder = make_decoder(kZstd, source, {});
    Bytes buffer(1000);
    iovec exact{buffer.data(), 999};
    CHECK(decoder->read({&exact, 1}) == 999);
    iovec more{buffer.data(), 2};
    CHECK_THROWS_AS((void)decoder->read({&more, 1}), base::FormatError);
}

TEST_CASE("a window beyond the limit is refused, the largest one is not") {
    const support::TemporaryDirectory directory;
    Random random(9);
    const auto stream = encode_pieces(kZstd, {made_up_content(random, 1000)});
    const auto input = directory / "a";
    directory.write("a", text_of(made_up_content(random, 500000)));
    for (const int log : {28, 30, 31}) {
        auto stored = stream.stored;
        // From a pipe, so that the window is not made smaller to fit.
        append(stored,
               bytes_of(output_of("cat " + input + " | zstd -q --ultra --long=" + std::to_string(log))));
        for (const unsigned threads : {1U, 2U}) {
            const auto refused = decode(kZstd, stored, {threads, nullptr, {}}, 1, 300);
            CHECK(refused.error ==
                  "the zstd stream at byte " + std::to_string(stream.stored.size()) +
                      " of the file needs a window of more than 128 MiB: decompress it with zstd "
                      "-d --long=31 and compress it again without --long");
            auto table = stream.table;
            table.add(static_cast<std::uint32_t>(stored.size() - stream.stored.size()), 500000);
            CHECK(decode(kZstd, stored, {threads, nullptr, table}, 1, 300) == refused);
        }
    }
    CHECK(decode(kZstd, bytes_of(output_of("cat " + input + " | zstd -q --long=27"))).error == "");
    // All of a frame with a size and without a window byte is its window.
    Bytes single(13);
    testing::put_le(single.data(), 4, ZSTD_MAGICNUMBER);
    single[4] = std::byte{0xe0};
    testing::put_le(single.data() + 5, 8, (std::uint64_t{1} << 27) + 1);
    CHECK(decode(kZstd, single).error.starts_with("the zstd stream at byte 0 of the file needs a window"));
}

TEST_CASE("a frame of 3 GiB in a few KiB is read through one small buffer, whatever its table says") {
    const std::uint64_t size = std::uint64_t{3} << 30;
    auto stored = bytes_of(output_of("head -c 3221225472 /dev/zero | zstd -q -1 --stream-size=3221225472"));
    CHECK(stored.size() < 1000000);
    FrameTable table;
    table.add(static_cast<std::uint32_t>(stored.size()), static_cast<std::uint32_t>(size));
    append(stored, table.encode());
    testing::MemorySource source(stored);
    const auto decoder = make_decoder(kZstd, source, {4, nullptr, table});
    Bytes buffer(std::size_t{4} << 20);
    std::uint64_t total = 0;
    while (true) {
        iovec slice{buffer.data(), buffer.size()};
        const auto count = decoder->read({&slice, 1});
        total += count;
        if (count < buffer.size()) break;
    }
    CHECK(total == size);
    CHECK(decoder->warning().empty());
    CHECK(decoder->frames_checked());
    CHECK(decoder->progress().done_bytes == stored.size());
}

TEST_CASE("reading stops when it is cancelled") {
    Random random(10);
    const auto stream = made_up_stream(kZstd, random, 20, 100000, true);
    for (const unsigned threads : {1U, 4U}) {
        base::CancelFlag cancel;
        testing::MemorySource source(stream.stored);
        const auto decoder = make_decoder(kZstd, source, {threads, &cancel, stream.table});
        Bytes buffer(stream.content.size());
        iovec some{buffer.data(), 1};
        CHECK(decoder->read({&some, 1}) == 1);
        cancel.request();
        iovec all{buffer.data(), buffer.size()};
        CHECK_THROWS_AS((void)decoder->read({&all, 1}), base::Cancelled);
    }
}

}  // namespace
}  // namespace vmad::codec
