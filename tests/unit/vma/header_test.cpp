#include "vma/header.hpp"

#include <algorithm>

#include <doctest/doctest.h>

#include "base/error.hpp"
#include "support/dump.hpp"

using namespace vmad;
using namespace vmad::vma;

namespace {

Header header_of(const testing::Bytes& archive) {
    const std::span<const std::byte> bytes(archive);
    return parse_header(bytes.first(parse_header_size(bytes.first<kFixedHeaderSize>())));
}

}  // namespace

TEST_CASE("what a dump says of its guest is what the guest is, whatever the dump's order") {
    for (std::uint64_t seed = 0; seed < 60; ++seed) {
        CAPTURE(seed);
        const auto guest = testing::random_guest(seed);
        const auto header = header_of(testing::dump(guest, testing::random_dump_options(seed)));
        REQUIRE(header.configs.size() == guest.configs.size());
        for (std::size_t i = 0; i < guest.configs.size(); ++i) {
            CHECK(header.configs[i].name == guest.configs[i].name);
            CHECK(testing::to_bytes(header.configs[i].data) == guest.configs[i].data);
        }
        REQUIRE(header.devices.size() == guest.disks.size());
        for (const auto& disk : guest.disks) {
            const auto found = std::find_if(header.devices.begin(), header.devices.end(),
                                            [&](const auto& device) { return device.name == disk.name; });
            REQUIRE(found != header.devices.end());
            CHECK(found->size_bytes == disk.size_bytes);
            CHECK(header.device(found->id) == &*found);
        }
    }
}

TEST_CASE("parsing undoes encoding, and encoding again gives the same bytes") {
    for (std::uint64_t seed = 0; seed < 60; ++seed) {
        const auto header = header_of(testing::dump(testing::random_guest(seed)));
        for (const std::size_t alignment : {512, 65536}) {
            const auto bytes = encode_header(header, alignment);
            CHECK(bytes.size() % alignment == 0);
            const auto again = parse_header(bytes);
            CHECK(again.configs == header.configs);
            CHECK(again.devices == header.devices);
            CHECK(again.ctime == header.ctime);
            CHECK(again.uuid == header.uuid);
            CHECK(encode_header(again, alignment) == bytes);
        }
    }
}

TEST_CASE("a config at the limit of a blob fits, one byte more is refused") {
    Header header;
    header.configs = {{"a", std::string(kMaxBlobSize, 'x')}};
    CHECK(parse_header(encode_header(header, 512)).configs == header.configs);
    header.configs[0].data += 'x';
    CHECK_THROWS_WITH_AS((void)encode_header(header, 512),
                         "a name or config of 65536 bytes does not fit a VMA header", base::Error);
}

TEST_CASE("a header of the largest size, all empty blobs, is parsed without a blob's worth of memory each") {
    Header header;
    header.configs = {{"name", "data"}};
    auto bytes = encode_header(header, kMaxHeaderSize);
    REQUIRE(bytes.size() == kMaxHeaderSize);
    testing::put_be(bytes.data() + testing::header_at::kBlobSize, 4, kMaxHeaderSize - kFixedHeaderSize);
    testing::seal(bytes, testing::header_at::kMd5);
    CHECK(parse_header(bytes).configs == header.configs);
}
