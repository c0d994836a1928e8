#include "codec/frame_encoder.hpp"

#include <doctest/doctest.h>

#include "base/limits.hpp"
#include "stored_streams.hpp"

namespace vmad::codec {
namespace {

TEST_CASE(
    "equal pieces give equal frames, whoever encodes them, whatever came before, however they are cut") {
    Random random(1);
    for (const auto format : {ArchiveFormat::zstd, ArchiveFormat::gzip}) {
        for (const int level : {1, vmad::base::kDefaultZstdLevel, vmad::base::kMaxZstdLevel}) {
            const auto used = make_frame_encoder(format, level);
            for (const std::size_t size : {0, 1, 511, 65536, 300000, 1200000}) {
                const auto piece = made_up_content(random, size);
                const auto frame = encode(*make_frame_encoder(format, level), piece);
                CHECK(frame.size() <= used->bound(size));
                CHECK(encode(*used, piece) == frame);

                std::vector<iovec> slices;
                for (std::size_t at = 0; at < size;) {
                    const auto step = std::min<std::size_t>(size - at, random.below(100000));
                    slices.push_back({const_cast<std::byte*>(piece.data()) + at, step});
                    at += step;
                }
                Bytes into(used->bound(size));
                into.resize(used->encode(slices, into));
                CHECK(into == frame);
            }
        }
    }
}

TEST_CASE("the bound holds for noise") {
    Random random(2);
    for (const auto format : {ArchiveFormat::zstd, ArchiveFormat::gzip}) {
        const auto encoder = make_frame_encoder(format, 1);
        for (const std::size_t size : {1, 100, 20000, 5000000}) {
            Bytes noise(size);
            random.fill(noise);
            CHECK(decode(format, encode(*encoder, noise)).bytes == noise);
        }
    }
}

TEST_CASE("16 MiB and one byte of zeros") {
    for (const auto format : {ArchiveFormat::zstd, ArchiveFormat::gzip}) {
        const Bytes zeros((std::size_t{16} << 20) + 1);
        const auto frame = encode(*make_frame_encoder(format, vmad::base::kDefaultZstdLevel), zeros);
        CHECK(frame.size() < 20000);
        CHECK(decode(format, frame).bytes == zeros);
    }
}

}  // namespace
}  // namespace vmad::codec
