#include "access/disk_reader.hpp"

#include <thread>

#include <doctest/doctest.h>

#include "codec/seek_table.hpp"
#include "support/archive_index.hpp"
#include "support/dump.hpp"
#include "support/memory_file.hpp"
#include "support/random.hpp"
#include "support/reference.hpp"

using namespace vmad;
using access::ArchiveIndex;
using access::DiskReader;
using testing::Bytes;

namespace {

constexpr std::uint64_t kRegion = canon::kRegionBytes;

io::FileSystem& fs() {
    static io::FileSystem real;
    return real;
}

std::unique_ptr<ArchiveIndex> index_of(const io::File& file) { return ArchiveIndex::read(fs(), file, {}); }

/// Reads at random places, and one behind the other, and compares.
void compare_with(const std::map<std::string, Bytes>& disks, const ArchiveIndex& index, DiskReader& reader,
                  std::uint64_t seed) {
    testing::Random random(seed);
    for (unsigned round = 0; round < 40; ++round)
        for (const auto& device : index.header().devices) {
            const testing::View disk = disks.at(device.name);
            const auto at = random.below(disk.size());
            const auto most = random.chance(0.2) ? 3 * kRegion : 8192;
            Bytes found(std::min(disk.size() - at, 1 + random.below(most)), std::byte{0xaa});
            reader.read_at(device.id, at, found);
            if (!std::equal(found.begin(), found.end(), disk.begin() + static_cast<std::ptrdiff_t>(at)))
                FAIL("seed " << seed << ": " << found.size() << " bytes at " << at << " of " << device.name);
        }
}

/// Whether each block of a device is stored, by the masks.
std::vector<bool> stored_blocks(const testing::ArchiveIndex& masks, std::uint8_t id) {
    std::vector<bool> blocks(base::divide_up<std::size_t>(masks.devices.at(id).size_bytes, 4096));
    for (std::size_t i = 0; i < blocks.size(); ++i)  // others lie past the end
        blocks[i] = !masks.clusters.at({id, static_cast<std::uint32_t>(i / 16)})[i % 16].empty();
    return blocks;
}

void check_ranges(const testing::ArchiveIndex& masks, const vma::Device& device, DiskReader& reader) {
    const auto blocks = stored_blocks(masks, device.id);
    std::uint64_t offset = 0;
    while (offset < device.size_bytes) {
        const auto range = reader.range_at(device.id, offset);
        REQUIRE(range.offset == offset);
        REQUIRE(range.bytes > 0);
        const auto end = offset + range.bytes;
        REQUIRE(end <= device.size_bytes);
        for (auto block = offset / 4096; block * 4096 < end; ++block) CHECK(blocks[block] == range.stored);
        if (end % kRegion != 0 && end < device.size_bytes) CHECK(blocks[end / 4096] != range.stored);
        offset = end;
    }
    CHECK(reader.stored_bytes(device.id) ==
          4096 * static_cast<std::uint64_t>(std::count(blocks.begin(), blocks.end(), true)));
}

/// The raw archive, and the canonical one, raw and compressed.
std::vector<io::File> forms_of(const Bytes& archive) {
    const auto canonical = testing::reference_repack(archive);
    std::vector<io::File> files;
    files.push_back(testing::memory_file(archive));
    files.push_back(testing::memory_file(canonical));
    files.push_back(testing::memory_file(testing::reference_zstd(canonical, 3)));
    return files;
}

/// Regions 2, 3, 6, 9 and 17 of 18 have something.
testing::Guest sparse_guest() {
    auto guest = testing::plausible_guest({{"drive-scsi0", 36 << 20, {.zero_fraction = 1}}});
    for (const std::uint64_t region : {2, 3, 6, 9, 17})
        guest.disks[0].content.changed[region * kRegion / 4096] = region;
    return guest;
}

/// The frames of a canonical archive that hold a region.
std::vector<codec::SeekFrame> region_frames(const Bytes& zstd) {
    const auto file = testing::memory_file(zstd);
    auto table = codec::read_seek_table(fs(), file).table.value();
    std::vector<codec::SeekFrame> frames;
    for (std::uint64_t i = 1; i < table.size(); ++i)
        if (table[i].bytes > 4096) frames.push_back(table[i]);
    return frames;
}

}  // namespace

TEST_CASE("law: reads of any size at any place by many threads give the content, and memory stays bounded") {
    for (std::uint64_t seed = 1; seed <= 6; ++seed) {
        const auto guest = testing::random_guest(seed);
        const auto archive = testing::dump(guest, testing::random_dump_options(seed));
        const auto disks = testing::contents_of(guest).disks;
        for (const auto& file : forms_of(archive)) {
            const auto index = index_of(file);
            const std::uint64_t memory = (seed % 3) * 5 << 20;
            DiskReader reader(*index, {.memory_bytes = memory, .read_ahead = 3});
            std::vector<std::jthread> threads;
            for (unsigned i = 0; i < 4; ++i)
                threads.emplace_back([&, i] { compare_with(disks, *index, reader, seed * 100 + i); });
            threads.clear();
            CHECK(reader.memory_bytes() <= memory);
        }
    }
}

TEST_CASE("law: a disk that is read from its start to its end is its content, and zeros are not kept") {
    const auto guest = sparse_guest();
    const auto disk = testing::contents_of(guest).disks.at("drive-scsi0");
    for (const auto& file : forms_of(testing::dump(guest))) {
        const auto index = index_of(file);
        DiskReader reader(*index, {});
        Bytes found(disk.size());
        for (std::size_t at = 0; at < disk.size(); at += 128 << 10)
            reader.read_at(index->header().devices[0].id, at, std::span(found).subspan(at, 128 << 10));
        CHECK(found == disk);
        CHECK(reader.memory_bytes() < 64 << 10);
    }
}

TEST_CASE("law: ranges are exact to the block, as the masks say") {
    for (std::uint64_t seed = 1; seed <= 10; ++seed) {
        CAPTURE(seed);
        const auto archive = testing::dump(testing::random_guest(seed), testing::random_dump_options(seed));
        const auto canonical = testing::reference_repack(archive);
        const auto files = forms_of(archive);
        for (const auto* bytes : {&archive, &canonical}) {
            const testing::ArchiveIndex masks(*bytes);
            for (const auto& file : files) {
                if ((&file == &files[0]) != (bytes == &archive)) continue;
                const auto index = index_of(file);
                DiskReader reader(*index, {});
                for (const auto& device : index->header().devices) check_ranges(masks, device, reader);
            }
        }
    }
}

TEST_CASE("a damaged frame fails the reads that touch its region, is reported once, and read once") {
    const auto guest = sparse_guest();
    const auto disk = testing::contents_of(guest).disks.at("drive-scsi0");
    auto bad = testing::reference_zstd(testing::reference_repack(testing::dump(guest)), 3);
    bad[region_frames(bad)[2].stored_offset + 20] ^= std::byte{1};
    const auto file = testing::memory_file(bad);
    const auto index = index_of(file);
    std::atomic<unsigned> reports = 0;
    std::string text;
    DiskReader reader(*index, {.report_damage = [&](const access::DamagedRegion& damage) {
        ++reports;
        text = damage.what();
    }});
    const auto is_damaged = [&](std::uint64_t at, std::size_t bytes) {
        Bytes found(bytes);
        try {
            reader.read_at(5, at, found);
        } catch (const access::DamagedRegion&) {
            return true;
        }
        CHECK(std::equal(found.begin(), found.end(), disk.begin() + static_cast<std::ptrdiff_t>(at)));
        return false;
    };
    CHECK_FALSE(is_damaged(0, 6 * kRegion));
    CHECK_FALSE(is_damaged(7 * kRegion, disk.size() - 7 * kRegion));
    CHECK(is_damaged(6 * kRegion - 1, 2));
    CHECK(is_damaged(7 * kRegion - 1, 2));
    std::vector<std::jthread> threads;
    for (unsigned i = 0; i < 4; ++i)
        threads.emplace_back([&] {
            for (std::uint64_t at = 6 * kRegion; at < 7 * kRegion; at += 65536) CHECK(is_damaged(at, 65536));
        });
    threads.clear();
    CHECK_THROWS_AS((void)reader.range_at(5, 6 * kRegion), access::DamagedRegion);
    CHECK(reports == 1);
    CHECK(text == "drive-scsi0: bytes 12582912 to 14680063 are damaged in the archive");
}

TEST_CASE("the file is gone behind the index: one error, and no region but those that are missing") {
    const auto good = testing::reference_zstd(testing::reference_repack(testing::dump(sparse_guest())), 3);
    const auto file = testing::memory_file(good);
    const auto index = index_of(file);
    DiskReader reader(*index, {});
    fs().truncate(file, region_frames(good)[3].stored_offset);
    Bytes block(4096);
    CHECK_NOTHROW(reader.read_at(5, 6 * kRegion, block));
    CHECK_THROWS_AS(reader.read_at(5, 9 * kRegion, block), access::DamagedRegion);
}
