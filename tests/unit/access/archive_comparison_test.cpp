#include "access/archive_comparison.hpp"

#include <algorithm>

#include <doctest/doctest.h>

#include "access/chunk_bound.hpp"
#include "codec/seek_table.hpp"
#include "support/dump.hpp"
#include "support/memory_file.hpp"
#include "support/random.hpp"
#include "support/reference.hpp"

using namespace vmad;
using access::Change;
using access::ComparedRange;
using access::DiskComparison;
using testing::Bytes;

namespace {

constexpr std::uint64_t kRegion = canon::kRegionBytes;
constexpr std::uint64_t kBlock = vma::kBlockSize;
const base::CancelFlag never;

io::FileSystem& fs() {
    static io::FileSystem real;
    return real;
}

/// A guest's archive in one of its forms.
struct Archive {
    explicit Archive(Bytes content)
        : bytes(std::move(content)),
          file(testing::memory_file(bytes)),
          index(access::ArchiveIndex::read(fs(), file, {})) {}
    Bytes bytes;
    io::File file;
    std::unique_ptr<access::ArchiveIndex> index;
};

struct Forms {
    Forms(const testing::Guest& guest, std::uint64_t seed)
        : disordered(testing::dump(guest, testing::random_dump_options(seed))),
          canonical(testing::reference_repack(disordered.bytes)),
          zstd(testing::reference_zstd(canonical.bytes, 1)) {}
    Archive disordered, canonical, zstd;
};

// ---- the plain way ----

Bytes block_of(const testing::Disk* disk, std::uint64_t number) {
    Bytes block(kBlock);
    if (disk != nullptr && number * kBlock < disk->size_bytes) disk->read_block(number, block.data());
    return block;
}

const testing::Disk* find(const testing::Guest& guest, const std::string& name) {
    const auto found = std::find_if(guest.disks.begin(), guest.disks.end(),
                                    [&](const auto& one) { return one.name == name; });
    return found == guest.disks.end() ? nullptr : &*found;
}

bool is_zero(const Bytes& block) {
    return std::all_of(block.begin(), block.end(), [](std::byte byte) { return byte == std::byte{0}; });
}

std::optional<Change> change_of(bool was, bool is, bool same) {
    if (!was && !is) return std::nullopt;
    if (!was) return Change::added;
    if (!is) return Change::discarded;
    return same ? Change::equal : Change::changed;
}

void extend(std::vector<ComparedRange>& ranges, const ComparedRange& range) {
    if (!ranges.empty() && ranges.back().change == range.change &&
        ranges.back().offset + ranges.back().bytes == range.offset)
        ranges.back().bytes += range.bytes;
    else
        ranges.push_back(range);
}

DiskComparison plain_comparison(const testing::Disk* before, const testing::Disk* after) {
    DiskComparison result;
    result.name = (after != nullptr ? after : before)->name;
    if (before != nullptr) result.before_bytes = before->size_bytes;
    if (after != nullptr) result.after_bytes = after->size_bytes;
    result.blocks.emplace();
    const auto size = std::max(result.before_bytes.value_or(0), result.after_bytes.value_or(0));
    for (std::uint64_t offset = 0; offset < size; offset += kRegion) {
        std::uint64_t old_bytes = 0, new_bytes = 0;
        bool same = true;
        for (auto number = offset / kBlock; number < (offset + kRegion) / kBlock; ++number) {
            const auto old = block_of(before, number);
            const auto now = block_of(after, number);
            old_bytes += is_zero(old) ? 0 : kBlock;
            new_bytes += is_zero(now) ? 0 : kBlock;
            same = same && old == now;
            if (const auto change = change_of(!is_zero(old), !is_zero(now), old == now))
                (*result.blocks)[*change] += kBlock;
        }
        const auto change = change_of(old_bytes != 0, new_bytes != 0, same);
        if (!change) continue;
        result.content[*change] += *change == Change::discarded ? old_bytes : new_bytes;
        extend(result.ranges, {offset, std::min(kRegion, size - offset), *change});
    }
    return result;
}

std::vector<DiskComparison> plain_comparison(const testing::Guest& before, const testing::Guest& after) {
    std::vector<DiskComparison> result;
    for (const auto& disk : after.disks) result.push_back(plain_comparison(find(before, disk.name), &disk));
    for (const auto& disk : before.disks)
        if (find(after, disk.name) == nullptr) result.push_back(plain_comparison(&disk, nullptr));
    return result;
}

// ---- guests ----

/// What a guest may be some days later: other blocks, some discarded, disks of other sizes, new and gone.
testing::Guest later(testing::Guest guest, std::uint64_t seed) {
    testing::Random random(seed);
    for (auto& disk : guest.disks) {
        if (random.chance(0.3)) disk.size_bytes += (1 + random.below(9000)) * 512;
        if (random.chance(0.2)) disk.size_bytes = std::max<std::uint64_t>(512, disk.size_bytes / 1024 * 512);
        const auto discarded = random.below(1 + disk.size_bytes / kBlock);
        for (std::uint64_t i = 0; random.chance(0.5) && i < 600; ++i) disk.content.changed[discarded + i] = 0;
    }
    if (!guest.disks.empty() && random.chance(0.3)) guest.disks.erase(guest.disks.begin());
    if (random.chance(0.3)) {
        testing::Disk disk{.name = "drive-late" + std::to_string(random.below(400)), .size_bytes = 5 << 20};
        disk.content.seed = seed;
        guest.disks.push_back(disk);
    }
    if (random.chance(0.8)) testing::change_blocks(guest, random.below(20), seed);
    return guest;
}

void sort_by_name(std::vector<DiskComparison>& disks) {
    std::sort(disks.begin(), disks.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
}

void check_equal(std::vector<DiskComparison> found, std::vector<DiskComparison> wanted) {
    sort_by_name(found);
    sort_by_name(wanted);
    REQUIRE(found.size() == wanted.size());
    for (std::size_t i = 0; i < found.size(); ++i) {
        CAPTURE(found[i].name);
        CHECK(found[i].name == wanted[i].name);
        CHECK(found[i].before_bytes == wanted[i].before_bytes);
        CHECK(found[i].after_bytes == wanted[i].after_bytes);
        CHECK(found[i].content == wanted[i].content);
        CHECK(found[i].ranges == wanted[i].ranges);
        if (found[i].blocks) CHECK(*found[i].blocks == *wanted[i].blocks);
    }
}

std::vector<access::DiskChecksums> checksums_of(const Archive& archive) {
    return access::read_region_checksums(fs(), archive.file, never).value();
}

std::vector<DiskComparison> by_checksums(const Archive& before, const Archive& after) {
    access::ComparisonOptions options;
    options.is_same = [&](const auto& old_device, const auto& new_device, std::uint32_t region) {
        return access::is_same_region(*before.index, old_device, *after.index, new_device, region);
    };
    return access::compare_checksums(checksums_of(before), checksums_of(after), options);
}

std::vector<DiskComparison> by_content(const Archive& before, const Archive& after, unsigned threads = 1) {
    base::TaskOptions task;
    task.threads = threads;
    return access::compare_content(*before.index, *after.index, {}, task);
}

std::uint64_t bytes_of(const std::vector<DiskComparison>& disks, Change change) {
    std::uint64_t bytes = 0;
    for (const auto& disk : disks) bytes += disk.content[change];
    return bytes;
}

}  // namespace

TEST_CASE("law: two archives in any form compare as their disks do, by checksums too" *
          doctest::test_suite("single-threaded")) {
    for (std::uint64_t seed = 1; seed <= 16; ++seed) {
        CAPTURE(seed);
        const auto old_guest = testing::random_guest(seed);
        const auto new_guest = seed % 8 == 0 ? testing::random_guest(seed + 1) : later(old_guest, seed);
        const Forms before(old_guest, seed);
        const Forms after(new_guest, seed + 1000);
        const auto wanted = plain_comparison(old_guest, new_guest);
        check_equal(by_checksums(before.zstd, after.zstd), wanted);
        check_equal(by_content(before.zstd, after.canonical, 3), wanted);
        check_equal(by_content(before.canonical, after.disordered), wanted);
        check_equal(by_content(before.disordered, after.disordered, 2), wanted);
    }
}

TEST_CASE("law: an archive differs nowhere from another dump of the same guest") {
    for (std::uint64_t seed = 1; seed <= 10; ++seed) {
        const auto guest = testing::random_guest(seed);
        const Forms one(guest, seed);
        const Forms other(guest, seed + 1);
        for (const auto& disks : {by_checksums(one.zstd, other.zstd), by_content(one.disordered, other.zstd)})
            for (const auto& disk : disks) CHECK_FALSE(disk.differs());
    }
}

TEST_CASE("a disk whose name has got another id is compared by reading, and so is the end of one that grew") {
    // h of both names is the same, so whichever is first in the alphabet has the id.
    std::vector<std::string> names;
    for (int i = 0; names.size() < 2; ++i) {
        const auto name = "disk" + std::to_string(i);
        if (testing::reference_ids({name}).at(name) == testing::reference_ids({"disk0"}).at("disk0"))
            names.push_back(name);
    }
    auto guest = testing::plausible_guest({{names[1], 3 << 20, {}}});
    const Forms alone(guest, 1);
    guest.disks.push_back({names[0], 1 << 20, {}});
    guest.disks[0].size_bytes += 64 << 10;
    guest.disks[0].content.changed[768] = 0;  // what has come is empty: 16 blocks
    for (unsigned block = 768; block < 784; ++block) guest.disks[0].content.changed[block] = 0;
    const Forms both(guest, 2);
    REQUIRE(checksums_of(alone.zstd)[0].device.id != checksums_of(both.zstd)[1].device.id);

    auto read = by_checksums(alone.zstd, both.zstd);
    CHECK(bytes_of(read, Change::changed) == 0);
    CHECK(bytes_of(read, Change::equal) > 2 << 20);
    const auto unread = access::compare_checksums(checksums_of(alone.zstd), checksums_of(both.zstd));
    CHECK(bytes_of(unread, Change::changed) == bytes_of(read, Change::equal));
}

TEST_CASE("parts of a disk count blocks, or regions that they share") {
    auto guest = testing::plausible_guest({{"drive-scsi0", 8 << 20, {.zero_fraction = 0}}});
    const Forms before(guest, 1);
    guest.disks[0].content.changed[300] = 77;   // 1.2 MiB
    guest.disks[0].content.changed[1500] = 78;  // 5.9 MiB
    const Forms after(guest, 1);
    access::ComparisonOptions options;
    options.parts = [](const std::string& disk) {
        CHECK(disk == "drive-scsi0");
        return std::vector<access::DiskPart>{
            {0, 1 << 20}, {1 << 20, 2 << 20}, {3 << 20, 1 << 20}, {4 << 20, std::uint64_t{1} << 63}};
    };
    const auto changed = [](const std::vector<DiskComparison>& disks) {
        std::vector<std::uint64_t> bytes;
        for (const auto& part : disks.at(0).parts) bytes.push_back(part.content[Change::changed]);
        return bytes;
    };
    CHECK(changed(access::compare_content(*before.zstd.index, *after.canonical.index, options, {})) ==
          std::vector<std::uint64_t>{0, kBlock, 0, kBlock});
    CHECK(changed(access::compare_checksums(checksums_of(before.zstd), checksums_of(after.zstd), options)) ==
          std::vector<std::uint64_t>{1 << 20, 1 << 20, 0, 2 << 20});
}

TEST_CASE("only a canonical zstd archive has checksums of its regions") {
    const Forms forms(testing::random_guest(3), 3);
    CHECK_FALSE(access::read_region_checksums(fs(), forms.disordered.file, never));
    CHECK_FALSE(access::read_region_checksums(fs(), forms.canonical.file, never));
    const auto cut = testing::memory_file(testing::View(forms.zstd.bytes).first(forms.zstd.bytes.size() - 9));
    CHECK_FALSE(access::read_region_checksums(fs(), cut, never));
}

TEST_CASE("the size in the file is that of what changed or is new") {
    auto guest = testing::plausible_guest({{"drive-scsi0", 8 << 20, {.zero_fraction = 0}}});
    const Forms before(guest, 1);
    guest.disks[0].content.changed[600] = 77;
    const Forms after(guest, 1);
    const auto stored = after.zstd.index->stored_bytes({5, 1});
    CHECK(by_checksums(before.zstd, after.zstd).at(0).new_stored_bytes == stored);
    CHECK(by_content(before.canonical, after.zstd).at(0).new_stored_bytes == stored);
}

TEST_CASE("a damaged region ends a comparison by content, in any thread") {
    auto guest = testing::plausible_guest({{"drive-scsi0", 64 << 20, {.zero_fraction = 0}}});
    const Forms good(guest, 1);
    auto bytes = good.zstd.bytes;
    auto table = codec::read_seek_table(fs(), good.zstd.file).table.value();
    bytes[table[20].stored_offset + 20] ^= std::byte{1};
    const Archive bad(bytes);
    for (const unsigned threads : {1, 4})
        CHECK_THROWS_WITH_AS((void)by_content(good.canonical, bad, threads),
                             "drive-scsi0: bytes 39845888 to 41943039 are damaged in the archive",
                             access::DamagedSide);
}

TEST_CASE("a comparison by content is stopped, and reports how far it is") {
    const Forms forms(testing::plausible_guest({{"drive-scsi0", 16 << 20, {.zero_fraction = 0}}}), 1);
    base::CancelFlag stop;
    base::TaskOptions task;
    task.cancel = &stop;
    std::uint64_t done = 0;
    task.progress = [&](const base::Progress& progress) {
        CHECK(progress.done_bytes > done);
        CHECK(progress.done_bytes <= progress.total_bytes);
        done = progress.done_bytes;
        stop.request();
    };
    CHECK_THROWS_AS((void)access::compare_content(*forms.zstd.index, *forms.canonical.index, {}, task),
                    base::Cancelled);
    CHECK(done > 0);
}

TEST_CASE("what restic adds at most: what has changed, and the chunks that reach into it") {
    // Frames of 1 MiB, behind a header of 4 KiB; the seek table has 1000 bytes.
    const auto disk = [](std::string name, std::uint8_t id, std::vector<std::uint32_t> regions,
                         unsigned first) {
        access::DiskChecksums checksums{{id, std::move(name), std::uint64_t{1} << 30}, {}};
        for (const auto region : regions)
            checksums.regions.push_back(
                {region, 2 << 20, region, 1 << 20, 4096 + (std::uint64_t{first++} << 20)});
        return checksums;
    };
    constexpr std::uint64_t kMiB = 1 << 20;
    const auto bound = [](const auto& before, const auto& after, unsigned frames) {
        return access::chunk_bound(before, after, 4096 + frames * kMiB + 1000);
    };
    const std::vector regions{0U, 1U, 2U, 3U, 4U, 5U, 6U, 7U, 8U, 9U};
    const std::vector plain{disk("drive-scsi0", 5, regions, 0)};
    // The header with the first frame, and the last frame with half of the one before.
    const auto least = 4096 + kMiB + kMiB / 2 + kMiB + 1000;
    CHECK(bound(plain, plain, 10) == least);

    auto changed = plain;
    changed[0].regions[4].checksum = 77;
    const auto around = kMiB / 2 + kMiB + kMiB;
    CHECK(bound(plain, changed, 10) == least + around);
    changed[0].regions[5].checksum = 78;
    CHECK(bound(plain, changed, 10) == least + around + kMiB);
    CHECK(bound(plain, std::vector{disk("drive-scsi0", 6, regions, 0)}, 10) == 4096 + 10 * kMiB + 1000);

    // Where something is gone, only chunks change.
    const std::vector discarded{disk("drive-scsi0", 5, {0, 1, 2, 3, 5, 6, 7, 8, 9}, 0)};
    CHECK(bound(plain, discarded, 9) == least + kMiB / 2 + kMiB);
    // A later name comes first in the file.
    const std::vector two{disk("drive-scsi0", 5, regions, 2), disk("drive-scsi1", 6, {0, 1}, 0)};
    CHECK(bound(plain, two, 12) == least + 2 * kMiB);
    CHECK(bound(two, plain, 10) == least);
    // Compressed in another way.
    for (auto& region : changed[0].regions) region.stored_bytes -= 4096;
    CHECK(bound(plain, changed, 10) == 4096 + 10 * kMiB + 1000);
}
