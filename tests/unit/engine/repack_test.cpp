// The laws of the engine, on made-up archives, against the plain reference.
#include "engine/repack.hpp"

#include <doctest/doctest.h>

#include "engine/engine_run.hpp"
#include "support/dump.hpp"
#include "support/memory_file.hpp"
#include "support/reference.hpp"
#include "verify/canonical_check.hpp"
#include "vma/archive_reader.hpp"

using namespace vmad;
using testing::Bytes;

namespace {

Bytes repacked(const Bytes& archive, unsigned threads = 1, std::uint64_t memory = base::kDefaultMemoryBytes) {
    io::FileSystem fs;
    const auto source = testing::memory_file(archive);
    const auto copy = testing::memory_file();
    engine::RepackOptions options;
    options.task.threads = threads;
    options.memory_bytes = memory;
    const auto result = testing::run_engine(fs, source, copy, options);
    CHECK(result.source_bytes == archive.size());
    auto bytes = testing::content_of(copy);
    CHECK(result.result_bytes == bytes.size());
    CHECK(result.fingerprint.digest.to_hex() == testing::content_digest(archive));
    CHECK_NOTHROW(
        testing::verify_copy(fs, copy, codec::ArchiveFormat::raw, result.fingerprint, options.task));
    return bytes;
}

/// The extents of a canonical archive, without the device id and size that its header gives them.
std::map<std::string, std::vector<Bytes>> extents_by_device(const Bytes& canonical) {
    io::FileSystem fs;
    testing::MemorySource source(canonical);
    base::BufferPool buffers(vma::kMaxExtentPayload, vma::kClusterSize, 0);
    vma::ArchiveReader reader(source, buffers);
    std::map<std::string, std::vector<Bytes>> result;
    for (vma::Extent extent; reader.next(extent);) {
        if (extent.header.slots[0].device_id == 0) continue;
        const auto begin = canonical.begin() + static_cast<std::ptrdiff_t>(extent.offset);
        const auto size = vma::kExtentHeaderSize + extent.header.payload_bytes();
        result[reader.header().device(extent.header.slots[0].device_id)->name].emplace_back(
            begin, begin + static_cast<std::ptrdiff_t>(size));
    }
    return result;
}

}  // namespace

TEST_CASE("the engine writes what the reference writes, for any budget and number of threads") {
    const std::uint64_t one_extent = vma::kMaxExtentPayload;
    for (std::uint64_t seed = 0; seed < testing::sampled(48); ++seed) {
        CAPTURE(seed);
        auto options = testing::random_dump_options(seed);
        options.shuffle = seed % 4 == 0;
        options.interleave = seed % 4 == 1;
        const auto archive = testing::dump(testing::random_guest(seed), options);
        const auto expected = testing::reference_repack(archive);
        const auto threads = static_cast<unsigned>(1 + seed % 4);
        for (const std::uint64_t memory : {std::uint64_t{0}, one_extent, 2 * one_extent, UINT64_MAX}) {
            CAPTURE(memory);
            CHECK(repacked(archive, threads, memory) == expected);
        }
    }
}

TEST_CASE("a larger archive in no order at all needs many passes and still comes out right") {
    auto guest = testing::plausible_guest(
        {{"drive-efidisk0", 540672, {}}, {"drive-scsi0", 40 << 20, {}}, {"drive-scsi1", 20 << 20, {}}});
    testing::DumpOptions options;
    options.shuffle = true;
    const auto archive = testing::dump(guest, options);
    const auto expected = testing::reference_repack(archive);
    for (const std::uint64_t memory : {0, 4 << 10, 1 << 20, 8 << 20})
        for (const unsigned threads : testing::kThreadCounts)
            CHECK(repacked(archive, threads, memory) == expected);
}

TEST_CASE("what can be restored is the same before and after" * doctest::test_suite("single-threaded")) {
    for (std::uint64_t seed = 100; seed < 130; ++seed) {
        const auto archive = testing::dump(testing::random_guest(seed), testing::random_dump_options(seed));
        CHECK(testing::extract(repacked(archive)) == testing::extract(archive));
    }
}

TEST_CASE("repacking twice is repacking once, and a repacked archive has canonical headers" *
          doctest::test_suite("single-threaded")) {
    io::FileSystem fs;
    for (std::uint64_t seed = 200; seed < 220; ++seed) {
        const auto archive = testing::dump(testing::random_guest(seed), testing::random_dump_options(seed));
        const auto once = repacked(archive);
        CHECK(repacked(once, 2, 0) == once);
        CHECK(verify::canonical_by_headers(fs, testing::memory_file(once), {}) == verify::Canonical::yes);
        CHECK(verify::canonical_by_headers(fs, testing::memory_file(archive), {}) == verify::Canonical::no);
        const auto cut = testing::View(once).first(once.size() - 1);
        CHECK(verify::canonical_by_headers(fs, testing::memory_file(cut), {}) == verify::Canonical::no);
    }
}

TEST_CASE("any two dumps of one guest become one file, apart from the time in the header" *
          doctest::test_suite("single-threaded")) {
    for (std::uint64_t seed = 300; seed < 320; ++seed) {
        CAPTURE(seed);
        const auto guest = testing::random_guest(seed);
        auto first = testing::random_dump_options(seed);
        auto second = testing::random_dump_options(seed + 1000);
        second.ctime = first.ctime;
        CHECK(repacked(testing::dump(guest, first)) == repacked(testing::dump(guest, second)));
        second.ctime = first.ctime + 86400;
        const auto a = repacked(testing::dump(guest, first));
        const auto b = repacked(testing::dump(guest, second));
        REQUIRE(a.size() == b.size());
        std::vector<std::size_t> differing;
        for (std::size_t i = 0; i < a.size(); ++i)
            if (a[i] != b[i] && (i < 24 || i >= 48)) differing.push_back(i);
        CHECK(differing.empty());
    }
}

TEST_CASE("growing a disk, adding one and a longer config leave every other extent the same bytes" *
          doctest::test_suite("single-threaded")) {
    const auto guest = testing::plausible_guest(
        {{"drive-scsi0", 9 << 20, {}}, {"drive-scsi2", 5 << 20, {}}, {"drive-scsi10", 6 << 20, {}}});
    const auto before = extents_by_device(repacked(testing::dump(guest)));
    testing::DumpOptions options;
    options.seed = 2;

    auto grown = guest;
    grown.disks[1].size_bytes += 3 << 20;
    auto after = extents_by_device(repacked(testing::dump(grown, options)));
    CHECK(after["drive-scsi0"] == before.at("drive-scsi0"));
    CHECK(after["drive-scsi10"] == before.at("drive-scsi10"));
    // Of the grown disk only the extent that was its last one.
    const auto& old_extents = before.at("drive-scsi2");
    for (std::size_t i = 0; i + 1 < old_extents.size(); ++i) CHECK(after["drive-scsi2"][i] == old_extents[i]);

    auto added = guest;
    added.disks.push_back({"drive-scsi1", 2 << 20, {}});
    added.disks.push_back({"drive-unheard-of", 2 << 20, {}});
    after = extents_by_device(repacked(testing::dump(added, options)));
    for (const auto& [name, extents] : before) CHECK(after[name] == extents);

    auto longer = guest;
    longer.configs[0].data.resize(20000, std::byte{'#'});
    const auto a = repacked(testing::dump(guest));
    const auto b = repacked(testing::dump(longer, options));
    CHECK(std::equal(a.begin() + 65536, a.end(), b.begin() + 65536, b.end()));
}

TEST_CASE("a source that ends too early, or a wish to stop, ends the engine and its threads") {
    io::FileSystem fs;
    const auto archive = testing::dump(testing::plausible_guest({{"drive-scsi0", 30 << 20, {}}}));
    const auto source = testing::memory_file(testing::View(archive).first(archive.size() / 2));
    for (const unsigned threads : {1, 4}) {
        engine::RepackOptions options;
        options.task.threads = threads;
        CHECK_THROWS_AS((void)testing::run_engine(fs, source, testing::memory_file(), options),
                        base::FormatError);
        base::CancelFlag cancel;
        options.task.cancel = &cancel;
        options.task.progress = [&](const base::Progress& progress) {
            if (progress.done_bytes > archive.size() / 4) cancel.request();
        };
        CHECK_THROWS_AS(
            (void)testing::run_engine(fs, testing::memory_file(archive), testing::memory_file(), options),
            base::Cancelled);
        CHECK_THROWS_AS(
            [&] {
                engine::RepackOptions full;
                full.task.threads = threads;
                (void)testing::run_engine(fs, testing::memory_file(archive), testing::memory_file(), full,
                                          [](std::uint64_t) { throw io::NoSpace("full"); });
            }(),
            io::NoSpace);
    }
}
