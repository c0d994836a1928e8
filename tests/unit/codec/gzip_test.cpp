#include <doctest/doctest.h>

#include "stored_streams.hpp"

namespace vmad::codec {
namespace {

constexpr auto kGzip = ArchiveFormat::gzip;

TEST_CASE("decoding what was encoded gives it back") {
    Random random(1);
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
        const auto stream = made_up_stream(kGzip, random, 1 + random.below(12), 1 + random.below(500000));
        CHECK(decode(kGzip, stream.stored, {}, seed) == sound(stream));
    }
    const auto large = encode_pieces(kGzip, {{}, made_up_content(random, std::size_t{16} << 20), {}, {}});
    CHECK(decode(kGzip, large.stored, {}, 1, std::size_t{4} << 20) == sound(large));
    CHECK(decode(kGzip, large.stored, {}, 1, std::size_t{32} << 20) == sound(large));
}

TEST_CASE("gzip reads what is encoded") {
    const support::TemporaryDirectory directory;
    Random random(2);
    const auto stream = made_up_stream(kGzip, random, 8, 300000);
    directory.write("a.gz", text_of(stream.stored));
    CHECK(output_of("gzip -t " + (directory / "a.gz")).empty());
    CHECK(output_of("gzip -dc " + (directory / "a.gz")) == text_of(stream.content));
}

TEST_CASE("what gzip and pigz write is read") {
    const support::TemporaryDirectory directory;
    Random random(3);
    const auto content = made_up_content(random, 3000000);
    directory.write("a", text_of(content));
    const auto name = directory / "a";
    for (const auto& command :
         {"gzip -1 -c " + name, "gzip -9 --name -c " + name, "gzip --rsyncable -c " + name,
          "(head -c 1000 " + name + " | gzip; tail -c +1001 " + name + " | gzip -n)"}) {
        CAPTURE(command);
        const auto decoded = decode(kGzip, bytes_of(output_of(command)));
        CHECK(decoded.error == "");
        CHECK(decoded.bytes == content);
    }
}

TEST_CASE("a file that is cut anywhere but between members is an error" *
          doctest::test_suite("single-threaded")) {
    Random random(4);
    const auto stream = made_up_stream(kGzip, random, 6, 100000);
    for (int i = 0; i < 200; ++i) {
        const auto size = 1 + random.below(stream.stored.size() - 1);
        CAPTURE(size);
        const auto cut = decode(kGzip, View(stream.stored).first(size), {}, size);
        bool border = false;
        for (const auto& frame : stream.table.frames) border = border || frame.stored_offset == size;
        CHECK(cut.error.empty() == border);
        if (!border)
            CHECK(cut.error.ends_with("the gzip stream ends in the middle of a member, at byte " +
                                      std::to_string(size) + " of the file"));
        CHECK(View(stream.content).first(cut.bytes.size()).size() == cut.bytes.size());
        CHECK(std::equal(cut.bytes.begin(), cut.bytes.end(), stream.content.begin()));
    }
    for (const auto& frame : stream.table.frames)
        CHECK(decode(kGzip, View(stream.stored).first(frame.stored_offset)).error == "");
}

TEST_CASE("a flipped bit never gives other bytes without an error" * doctest::test_suite("single-threaded")) {
    Random random(5);
    const auto stream = made_up_stream(kGzip, random, 6, 60000);
    for (int i = 0; i < 200; ++i) {
        auto stored = stream.stored;
        const auto bit = random.below(stored.size() * 8);
        CAPTURE(bit);
        stored[bit / 8] ^= std::byte{1} << (bit % 8);
        const auto flipped = decode(kGzip, stored, {}, bit);
        // A member's time, system and such are not looked at.
        CHECK((!flipped.error.empty() || flipped.bytes == stream.content));
    }
}

TEST_CASE("damage is named with the byte of the file") {
    const auto one = encode_pieces(kGzip, {Bytes(1000)});
    const auto size = std::to_string(one.stored.size());
    const auto with = [&](std::initializer_list<unsigned char> more) {
        auto stored = one.stored;
        for (const auto byte : more) stored.push_back(std::byte{byte});
        return decode(kGzip, stored).error;
    };
    CHECK(with({}) == "");
    const auto garbage =
        "at byte 1000: bytes that are no gzip member follow at byte " + size + " of the file";
    CHECK(with({'x'}) == garbage);
    CHECK(with({0, 0, 'x'}) == "at byte 1000: bytes that are no gzip member follow at byte " +
                                   std::to_string(one.stored.size() + 2) + " of the file");
    CHECK(with({0, 0x1f, 0x8b}) == "at byte 1000: bytes that are no gzip member follow at byte " +
                                       std::to_string(one.stored.size() + 1) + " of the file");
    CHECK(with({0x1f, 0x8c}) == garbage);
    CHECK(with({0x1f}) == "at byte 1000: the gzip stream ends in the middle of a member, at byte " +
                              std::to_string(one.stored.size() + 1) + " of the file");
    CHECK(with({0x1f, 0x8b, 7, 0, 0, 0, 0, 0, 0, 0})
              .starts_with("at byte 1000: the gzip stream is damaged at byte "));

    auto stored = one.stored;
    stored[stored.size() - 8] ^= std::byte{1};
    CHECK(decode(kGzip, stored).error == "at byte 1000: the gzip stream is damaged at byte " +
                                             std::to_string(stored.size() - 4) +
                                             " of the file: incorrect data check");
    stored = one.stored;
    stored.back() ^= std::byte{1};
    CHECK(decode(kGzip, stored).error == "at byte 1000: the gzip stream is damaged at byte " + size +
                                             " of the file: incorrect length check");
}

TEST_CASE("zeros behind the last member are passed over, as gzip does") {
    const auto one = encode_pieces(kGzip, {Bytes(1000)});
    for (const std::size_t zeros : {1, 2, 511, 4096, 3 << 20}) {
        auto stored = one.stored;
        stored.resize(stored.size() + zeros);
        const auto decoded = decode(kGzip, stored);
        CHECK(decoded.error == "");
        CHECK(decoded.bytes == one.content);
    }
}

TEST_CASE("reading stops when it is cancelled") {
    base::CancelFlag cancel;
    const auto stream = encode_pieces(kGzip, {Bytes(1000)});
    testing::MemorySource source(stream.stored);
    const auto decoder = make_decoder(kGzip, source, {1, &cancel, {}});
    cancel.request();
    Bytes buffer(10);
    iovec slice{buffer.data(), buffer.size()};
    CHECK_THROWS_AS((void)decoder->read({&slice, 1}), base::Cancelled);
}

}  // namespace
}  // namespace vmad::codec
