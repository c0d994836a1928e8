// The laws of the canonical form: what a change of the guest changes in the file, and what it does not.
#include <set>

#include <doctest/doctest.h>
#include <zstd.h>

#include "canon/layout.hpp"
#include "codec/seek_table.hpp"
#include "engine/engine_run.hpp"
#include "engine/seek_entries.hpp"
#include "support/dump.hpp"
#include "support/frame_table.hpp"
#include "vma/archive_reader.hpp"

using namespace vmad;
using testing::ArchiveFormat;
using testing::Bytes;
using testing::Guest;

namespace {

constexpr std::uint64_t kMiB = 1 << 20;
constexpr std::uint64_t kBlocksPerRegion = canon::kRegionBytes / testing::kBlockBytes;

/// A device and a region of it, which may be one of the empty extents behind its end.
using Region = std::pair<std::string, std::uint64_t>;

struct Piece {
    std::uint64_t offset;  ///< in the file
    Bytes bytes;
};

/// What a file has of each region. Regions without payload that share a frame are known by the first one.
struct StoredRegions {
    std::map<Region, Piece> with_payload;  ///< of a raw archive, all
    std::map<Region, Piece> runs;
};

Bytes repacked(const Guest& guest, ArchiveFormat format) {
    io::FileSystem fs;
    const auto copy = testing::memory_file();
    engine::RepackOptions options;
    options.format = format;
    (void)testing::run_engine(fs, testing::memory_file(testing::dump(guest)), copy, options);
    return testing::content_of(copy);
}

/// Every extent of a canonical archive, in order.
std::vector<std::pair<Region, Piece>> extents_of(const Bytes& archive) {
    testing::MemorySource source(archive);
    base::BufferPool buffers(vma::kMaxExtentPayload, vma::kClusterSize, 0);
    vma::ArchiveReader reader(source, buffers);
    std::vector<std::pair<Region, Piece>> extents;
    Region region;
    for (vma::Extent extent; reader.next(extent); ++region.second) {
        const auto& slot = extent.header.slots[0];
        if (slot.device_id != 0 && slot.cluster == 0)
            region = {reader.header().device(slot.device_id)->name, 0};
        const auto begin = archive.begin() + static_cast<std::ptrdiff_t>(extent.offset);
        const auto size = vma::kExtentHeaderSize + extent.header.payload_bytes();
        extents.push_back({region, {extent.offset, {begin, begin + static_cast<std::ptrdiff_t>(size)}}});
    }
    return extents;
}

StoredRegions raw_regions(const Bytes& archive) {
    StoredRegions result;
    for (auto& [region, piece] : extents_of(archive)) result.with_payload[region] = piece;
    return result;
}

StoredRegions zstd_regions(const Bytes& stored) {
    const auto extents = extents_of(testing::uncompressed(stored));
    io::FileSystem fs;
    const auto file = testing::memory_file(stored);
    const auto table = testing::FrameTable::read(codec::read_seek_table(fs, file).table.value());
    StoredRegions result;
    std::size_t extent = 0;
    for (std::size_t i = 1; i < table.frames.size(); ++i) {
        const auto& frame = table.frames[i];
        const auto* begin = stored.data() + frame.stored_offset;
        const Piece piece{frame.stored_offset,
                          {begin, begin + ZSTD_findFrameCompressedSize(begin, frame.stored_bytes)}};
        const bool has_payload = frame.bytes > 4096;
        if (has_payload) CHECK(frame.stored_offset % 4096 == 0);
        (has_payload ? result.with_payload : result.runs)[extents[extent].first] = piece;
        extent += has_payload ? 1 : frame.bytes / 512;
    }
    CHECK(extent == extents.size());
    return result;
}

/// The regions that only one of the two has, or that differ. All others stand on the same place of a page.
std::set<Region> difference(const std::map<Region, Piece>& a, const std::map<Region, Piece>& b,
                            bool on_pages = true) {
    std::set<Region> result;
    for (const auto& [region, piece] : b)
        if (!a.contains(region)) result.insert(region);
    for (const auto& [region, piece] : a) {
        const auto other = b.find(region);
        if (other == b.end() || other->second.bytes != piece.bytes)
            result.insert(region);
        else if (on_pages)
            CHECK(other->second.offset % 4096 == piece.offset % 4096);
    }
    return result;
}

/// Three disks without a zero block, but for a few regions of the second one.
Guest guest() {
    auto result =
        testing::plausible_guest({{"drive-scsi0", 9 * kMiB, {.seed = 1, .zero_fraction = 0}},
                                  {"drive-scsi2", 21 * kMiB + 4608, {.seed = 2, .zero_fraction = 0}},
                                  {"drive-scsi10", 4 * kMiB, {.seed = 3, .zero_fraction = 0}}});
    auto& content = result.disks[1].content;
    for (const std::uint64_t region : {1, 2, 3, 5, 7, 8})
        for (std::uint64_t block = 0; block < kBlocksPerRegion; ++block)
            content.changed[region * kBlocksPerRegion + block] = 0;
    return result;
}

void check_change(const std::function<void(Guest&)>& change, const std::set<Region>& expected,
                  const std::set<Region>& expected_runs = {}) {
    auto changed = guest();
    change(changed);
    const auto raw = difference(raw_regions(repacked(guest(), ArchiveFormat::raw)).with_payload,
                                raw_regions(repacked(changed, ArchiveFormat::raw)).with_payload);
    CHECK(raw == expected);
    const auto before = zstd_regions(repacked(guest(), ArchiveFormat::zstd));
    const auto after = zstd_regions(repacked(changed, ArchiveFormat::zstd));
    auto with_payload = difference(before.with_payload, after.with_payload);
    CHECK(std::includes(expected.begin(), expected.end(), with_payload.begin(), with_payload.end()));
    CHECK(difference(before.runs, after.runs, false) == expected_runs);
}

}  // namespace

TEST_SUITE_BEGIN("single-threaded");

TEST_CASE("a changed block changes its extent") {
    check_change([](Guest& g) { g.disks[1].content.changed[4 * kBlocksPerRegion + 17] = 99; },
                 {{"drive-scsi2", 4}});
}

TEST_CASE("a changed block leaves every other byte of a raw archive") {
    auto changed = guest();
    changed.disks[1].content.changed[4 * kBlocksPerRegion + 17] = 99;
    const auto a = repacked(guest(), ArchiveFormat::raw);
    const auto b = repacked(changed, ArchiveFormat::raw);
    REQUIRE(a.size() == b.size());
    std::size_t first = 0;
    std::size_t last = a.size();
    while (a[first] == b[first]) ++first;
    while (a[last - 1] == b[last - 1]) --last;
    CHECK(last - first <= testing::kBlockBytes);
}

TEST_CASE("a changed mask changes its extent and moves what follows by whole pages") {
    check_change([](Guest& g) { g.disks[1].content.changed[4 * kBlocksPerRegion + 17] = 0; },
                 {{"drive-scsi2", 4}});
    check_change([](Guest& g) { g.disks[1].content.changed[0] = 0; }, {{"drive-scsi2", 0}});
}

TEST_CASE("a zero region that gets content changes itself, and the frame that its group shared") {
    // The regions 1 to 3 share a frame; 2 leaves 1 and 3 alone.
    check_change([](Guest& g) { g.disks[1].content.changed[2 * kBlocksPerRegion] = 7; }, {{"drive-scsi2", 2}},
                 {{"drive-scsi2", 1}, {"drive-scsi2", 3}});
    // 8 begins a group: 7, just before it, is in another frame.
    check_change([](Guest& g) { g.disks[1].content.changed[8 * kBlocksPerRegion] = 7; }, {{"drive-scsi2", 8}},
                 {{"drive-scsi2", 8}});
}

TEST_CASE("a disk that grows changes its last region and what filled it up") {
    check_change([](Guest& g) { g.disks[1].size_bytes += 2 * kMiB; },
                 // The cut one has more blocks, the next one is new.
                 {{"drive-scsi2", 10}, {"drive-scsi2", 11}}, {{"drive-scsi2", 11}, {"drive-scsi2", 12}});
}

TEST_CASE("a disk that is added in front moves all others by whole pages") {
    std::set<Region> added;
    for (std::uint64_t i = 0; i < 8; ++i) added.insert({"drive-virtio1", i});
    check_change(
        [](Guest& g) {
            g.disks.push_back({"drive-virtio1", 3 * kMiB, {.seed = 5, .zero_fraction = 0}});
            // Its name is not in the config: the header changes by the disk alone.
        },
        added, {{"drive-virtio1", 2}});
}

TEST_CASE("a longer config moves all by whole pages") {
    check_change([](Guest& g) { g.configs[0].data.resize(60000, std::byte{'#'}); }, {});
}

TEST_CASE("an archive that is in order never spills or reads again, however little memory there is") {
    io::FileSystem fs;
    auto thin = testing::plausible_guest({{"drive-scsi0", 4096 * kMiB, {.zero_fraction = 1}}});
    testing::DumpOptions in_order;
    in_order.jitter = 1;
    in_order.injected = 0;
    for (const auto& archive : {testing::dump(thin, in_order), repacked(guest(), ArchiveFormat::raw)}) {
        for (const std::uint64_t memory : {std::uint64_t{16} << 10, std::uint64_t{256} << 20}) {
            CAPTURE(memory);
            testing::MemorySource stream(archive, false);
            auto source = codec::ArchiveSource::of_stream(stream, {});
            testing::MemorySink sink;
            engine::RepackOptions options;
            options.format = ArchiveFormat::zstd;
            // Two readers' threads may pass each other, which takes some memory.
            options.task.threads = memory < kMiB ? 1 : 2;
            options.memory_bytes = memory;
            const auto result = engine::repack(fs, source, sink, options);
            CHECK(result.spilled_bytes == 0);
            CHECK(result.reread_bytes == 0);
        }
    }
}

TEST_CASE("a seek table for which memory has no room is the same") {
    io::FileSystem fs;
    engine::SeekEntries entries(fs, {});
    Bytes expected;
    const auto put = [&](const auto& part) { expected.insert(expected.end(), part.begin(), part.end()); };
    constexpr std::uint32_t kFrames = 1500000;
    put(codec::SeekTable::encode_header(kFrames));
    for (std::uint32_t i = 0; i < kFrames; ++i) {
        entries.add(i, i + 1, i + 2);
        put(codec::SeekTable::encode_entry(i, i + 1, i + 2));
    }
    put(codec::SeekTable::encode_footer(kFrames));
    testing::MemorySink sink;
    entries.write_table(sink);
    CHECK(sink.bytes == expected);
}

TEST_SUITE_END();
