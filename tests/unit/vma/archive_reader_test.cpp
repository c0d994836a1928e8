#include "vma/archive_reader.hpp"

#include <doctest/doctest.h>

#include "base/error.hpp"
#include "support/archive_index.hpp"
#include "support/dump.hpp"
#include "support/memory_file.hpp"

using namespace vmad;
using namespace vmad::vma;

TEST_CASE("extents come one after the other, with their payload, and fill the file to its end") {
    for (std::uint64_t seed = 0; seed < 40; ++seed) {
        for (const bool sized : {true, false}) {
            const auto archive =
                testing::dump(testing::random_guest(seed), testing::random_dump_options(seed));
            testing::MemorySource source(archive, sized);
            base::BufferPool buffers(kMaxExtentPayload, kClusterSize, 0);
            ArchiveReader reader(source, buffers);
            std::uint64_t offset = reader.header().size_bytes;
            std::uint64_t number = 0;
            for (Extent extent; reader.next(extent); ++number) {
                CHECK(extent.number == number);
                CHECK(extent.offset == offset);
                const auto size = extent.header.payload_bytes();
                CHECK(std::equal(extent.payload->data(), extent.payload->data() + size,
                                 archive.begin() + static_cast<std::ptrdiff_t>(extent.payload_offset())));
                offset = extent.payload_offset() + size;
                CHECK(reader.offset() == offset);
            }
            CHECK(offset == archive.size());
        }
    }
}

TEST_CASE("an archive cut off at any byte is refused, and nothing else is") {
    testing::DumpOptions options;
    options.slots_per_extent = 2;
    const auto two_disks =
        testing::plausible_guest({{"drive-scsi0", 3 * 65536 + 512, {}}, {"drive-scsi1", 512, {}}});
    for (const auto& guest : {two_disks, testing::plausible_guest({})}) {
        const auto archive = testing::dump(guest, options);
        const auto read_all = [&](std::size_t size) {
            testing::MemorySource source(testing::View(archive).first(size));
            base::BufferPool buffers(kMaxExtentPayload, kClusterSize, 0);
            ArchiveReader reader(source, buffers);
            for (Extent extent; reader.next(extent);) {
            }
        };
        CHECK_NOTHROW(read_all(archive.size()));
        CHECK_NOTHROW(testing::ArchiveIndex{archive});
        const auto check_cut = [&](std::size_t size) {
            CAPTURE(size);
            CHECK_THROWS_AS(read_all(size), base::FormatError);
            CHECK_THROWS_AS(testing::ArchiveIndex{testing::View(archive).first(size)}, testing::Refused);
        };
        for (std::size_t size = 0; size < archive.size(); size += 61) check_cut(size);
        check_cut(testing::get_be(&archive[testing::header_at::kHeaderSize], 4));
    }
}

TEST_CASE("an archive of unknown length may not claim more disks than memory can keep track of") {
    constexpr std::uint64_t kTiB = std::uint64_t{1} << 40;
    const auto clusters_of = [](std::uint64_t size_bytes) {
        Header header;
        header.devices.push_back({1, "drive-scsi0", size_bytes / 2});
        header.devices.push_back({2, "drive-scsi1", size_bytes / 2});
        return header;
    };
    CHECK_NOTHROW(ClusterMap(clusters_of(64 * kTiB), std::nullopt));
    CHECK_THROWS_WITH_AS(ClusterMap(clusters_of(65 * kTiB), std::nullopt),
                         "compressed or from a pipe, disks of more than 64 TiB in all are not supported",
                         base::Unsupported);
    CHECK_NOTHROW(ClusterMap(clusters_of(65 * kTiB), kTiB));
}
