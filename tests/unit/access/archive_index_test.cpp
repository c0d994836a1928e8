#include "access/archive_index.hpp"

#include <algorithm>

#include <doctest/doctest.h>

#include "codec/seek_table.hpp"
#include "support/dump.hpp"
#include "support/memory_file.hpp"
#include "support/reference.hpp"

using namespace vmad;
using access::ArchiveIndex;
using testing::Bytes;

namespace {

constexpr std::size_t kBlocks = canon::kRegionBytes / vma::kBlockSize;

io::FileSystem& fs() {
    static io::FileSystem real;
    return real;
}

std::uint32_t region_count(std::uint64_t size_bytes) {
    return static_cast<std::uint32_t>(base::divide_up<std::uint64_t>(size_bytes, canon::kRegionBytes));
}

/// What the index finds in a region; nothing when the archive is damaged there.
std::optional<Bytes> content_of(const ArchiveIndex& index, const access::RegionNumber& number) {
    Bytes content(canon::kRegionBytes);
    try {
        const auto region = index.load(number);
        for (unsigned block = 0; region && block < kBlocks; ++block)
            if (const auto* bytes = region->block(block))
                std::copy_n(bytes, vma::kBlockSize, content.data() + block * vma::kBlockSize);
    } catch (const access::DamagedRegion&) {
        return std::nullopt;
    }
    return content;
}

Bytes expected(const testing::Disk& disk, std::uint32_t region) {
    Bytes content(canon::kRegionBytes);
    for (unsigned block = 0; block < kBlocks; ++block) {
        const auto index = region * kBlocks + block;
        if (index * vma::kBlockSize < disk.size_bytes)
            disk.read_block(index, content.data() + block * vma::kBlockSize);
    }
    return content;
}

/// Bytes past the end are not content.
bool is_same(Bytes found, const Bytes& wanted, const testing::Disk& disk, std::uint32_t region) {
    const auto rest = disk.size_bytes - region * std::uint64_t{canon::kRegionBytes};
    if (rest < found.size())
        std::fill(found.begin() + static_cast<std::ptrdiff_t>(rest), found.end(), std::byte{0});
    return found == wanted;
}

void check_all_regions(const ArchiveIndex& index, const testing::Guest& guest) {
    const base::CancelFlag never;
    REQUIRE(index.header().devices.size() == guest.disks.size());
    for (const auto& device : index.header().devices) {
        CAPTURE(device.name);
        const auto disk = std::find_if(guest.disks.begin(), guest.disks.end(),
                                       [&](const auto& one) { return one.name == device.name; });
        REQUIRE(disk != guest.disks.end());
        CHECK_NOTHROW(index.check_zero_regions(device.id, never));
        const auto stored = index.stored_regions(device.id);
        CHECK(std::is_sorted(stored.begin(), stored.end()));
        for (std::uint32_t region = 0; region < region_count(device.size_bytes); ++region) {
            CAPTURE(region);
            const access::RegionNumber number{device.id, region};
            const bool is_stored = std::binary_search(stored.begin(), stored.end(), region);
            CHECK((index.stored_bytes(number) > 0) == is_stored);
            CHECK(index.load(number).has_value() == is_stored);
            CHECK(is_same(content_of(index, number).value(), expected(*disk, region), *disk, region));
        }
    }
}

std::unique_ptr<ArchiveIndex> index_of(const io::File& file) { return ArchiveIndex::read(fs(), file, {}); }

/// Zero regions at the beginning, in the middle and at the end of a group.
testing::Guest sparse_guest() {
    auto guest = testing::plausible_guest({{"drive-scsi0", 36 << 20, {.zero_fraction = 1}}});
    for (const std::uint64_t region : {2, 3, 6, 9, 17})
        guest.disks[0].content.changed[region * kBlocks] = region;
    return guest;
}

}  // namespace

TEST_CASE("law: each region of each disk is found, however the archive stands in its file" *
          doctest::test_suite("single-threaded")) {
    for (std::uint64_t seed = 1; seed <= 40; ++seed) {
        CAPTURE(seed);
        const auto guest = testing::random_guest(seed);
        const auto archive = testing::dump(guest, testing::random_dump_options(seed));
        const auto canonical = testing::reference_repack(archive);
        const auto raw = testing::memory_file(archive);
        const auto canonical_raw = testing::memory_file(canonical);
        const auto canonical_zstd = testing::memory_file(testing::reference_zstd(canonical, 3));
        for (const auto* file : {&raw, &canonical_raw, &canonical_zstd})
            check_all_regions(*index_of(*file), guest);
    }
}

TEST_CASE("a compressed archive that is not canonical is to be repacked first") {
    const auto zstd = testing::reference_zstd(testing::reference_repack(testing::dump(sparse_guest())), 3);
    const auto without_table = testing::memory_file(testing::View(zstd).first(zstd.size() - 17));
    CHECK_THROWS_AS((void)index_of(without_table), base::Unsupported);
}

TEST_CASE("a damaged frame makes its region unreadable, and no other") {
    const auto guest = sparse_guest();
    const auto archive = testing::reference_repack(testing::dump(guest));
    const auto good = testing::reference_zstd(archive, 3);
    const auto good_file = testing::memory_file(good);
    auto table = codec::read_seek_table(fs(), good_file).table.value();
    const auto stored = index_of(good_file)->stored_regions(5);
    REQUIRE(stored == std::vector<std::uint32_t>{2, 3, 6, 9, 17});
    std::size_t damaged = 0;
    for (std::uint64_t frame = 1; frame < table.size(); ++frame) {
        if (table[frame].bytes <= 4096) continue;
        CAPTURE(damaged);
        auto bad = good;
        bad[table[frame].stored_offset + 20] ^= std::byte{1};
        const auto file = testing::memory_file(bad);
        const auto index = index_of(file);
        for (std::uint32_t region = 0; region < region_count(guest.disks[0].size_bytes); ++region) {
            const auto content = content_of(*index, {5, region});
            if (region == stored[damaged])
                CHECK_FALSE(content);
            else
                CHECK(content == expected(guest.disks[0], region));
        }
        ++damaged;
    }
    CHECK(damaged == stored.size());
}

TEST_CASE("a frame that the seek table takes for zeros is found out before zeros are handed out for it") {
    const auto archive = testing::reference_repack(testing::dump(sparse_guest()));
    const auto good = testing::reference_zstd(archive, 3);
    const auto good_file = testing::memory_file(good);
    auto table = codec::read_seek_table(fs(), good_file).table.value();
    const base::CancelFlag never;
    for (std::uint64_t frame = 1; frame < table.size(); ++frame) {
        if (table[frame].bytes > 4096) continue;
        CAPTURE(frame);
        auto bad = good;
        bad[table[frame].stored_offset + 10] ^= std::byte{1};
        const auto file = testing::memory_file(bad);
        CHECK_THROWS_AS(index_of(file)->check_zero_regions(5, never), access::DamagedRegion);
    }
}

TEST_CASE("a raw archive that breaks a rule, or is cut off anywhere, has no index" *
          doctest::test_suite("single-threaded")) {
    const auto archive = testing::dump(sparse_guest());
    for (std::size_t size = 0; size < archive.size(); size += 4099) {
        CAPTURE(size);
        const auto file = testing::memory_file(testing::View(archive).first(size));
        CHECK_THROWS((void)index_of(file));
    }
}

TEST_CASE("an archive that ends before its first extent has no index") {
    auto archive = testing::dump(testing::plausible_guest({}));
    CHECK_NOTHROW((void)index_of(testing::memory_file(archive)));
    archive.resize(testing::get_be(&archive[testing::header_at::kHeaderSize], 4));
    const auto file = testing::memory_file(archive);
    CHECK_THROWS_WITH_AS((void)index_of(file), doctest::Contains("the archive ends before its first extent"),
                         base::FormatError);
}
