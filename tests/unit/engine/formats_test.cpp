// The laws of the engine for every format of archive, from files and from streams that cannot be read again.
#include <fcntl.h>

#include <doctest/doctest.h>

#include "canon/sealed_extent.hpp"
#include "engine/engine_run.hpp"
#include "support/dump.hpp"
#include "support/reference.hpp"
#include "support/temporary_directory.hpp"
#include "verify/canonical_check.hpp"

using namespace vmad;
using testing::ArchiveFormat;
using testing::Bytes;

namespace {

constexpr std::uint64_t kMiB = 1 << 20;

struct Run {
    ArchiveFormat to = ArchiveFormat::raw;
    unsigned threads = 1;
    std::uint64_t memory = base::kDefaultMemoryBytes;
};

struct Repacked {
    Bytes bytes;
    engine::RepackResult result;
};

/// From a stream, which can be read once.
Repacked repack_stream(testing::View stored, const Run& run) {
    io::FileSystem fs;
    testing::MemorySource stream(stored, false);
    auto source = codec::ArchiveSource::of_stream(stream, {run.threads, nullptr});
    testing::MemorySink sink;
    engine::RepackOptions options;
    options.task.threads = run.threads;
    options.format = run.to;
    options.memory_bytes = run.memory;
    auto result = engine::repack(fs, source, sink, options);
    CHECK(result.source_bytes == stored.size());
    CHECK(result.result_bytes == sink.bytes.size());
    return {std::move(sink.bytes), std::move(result)};
}

/// The file is read back and verified.
Bytes repack_file(testing::View stored, const Run& run) {
    io::FileSystem fs;
    const auto copy = testing::memory_file();
    engine::RepackOptions options;
    options.task.threads = run.threads;
    options.format = run.to;
    options.memory_bytes = run.memory;
    const auto result = testing::run_engine(fs, testing::memory_file(stored), copy, options);
    CHECK_NOTHROW(testing::verify_copy(fs, copy, run.to, result.fingerprint, options.task));
    return testing::content_of(copy);
}

}  // namespace

TEST_CASE(
    "a stream of any format and in any order becomes what the reference writes, for any budget and threads") {
    for (std::uint64_t seed = 0; seed < testing::sampled(24); ++seed) {
        CAPTURE(seed);
        auto options = testing::random_dump_options(seed);
        options.shuffle = seed % 4 == 0;
        options.interleave = seed % 4 == 1;
        options.ascending = seed % 4 >= 1 && seed % 3 == 0;
        const auto archive = testing::dump(testing::random_guest(seed), options);
        const auto expected = testing::reference_repack(archive);
        const auto format = testing::kAllFormats[seed % 8 == 7 ? 3 : seed % 3];
        const auto stored = testing::stored_as(format, archive);
        const auto threads = static_cast<unsigned>(1 + seed % 4);
        for (const std::uint64_t memory :
             {std::uint64_t{0}, std::uint64_t{vma::kMaxExtentPayload}, 16 * kMiB, UINT64_MAX}) {
            CAPTURE(memory);
            const auto [bytes, result] = repack_stream(stored, {ArchiveFormat::raw, threads, memory});
            CHECK(bytes == expected);
            CHECK(result.fingerprint.digest.to_hex() == testing::content_digest(archive));
            CHECK(result.archive_bytes == archive.size());
            CHECK(result.reread_bytes == 0);
        }
    }
}

TEST_CASE("orders in which most extents must be parked") {
    auto guest = testing::plausible_guest({{"drive-efidisk0", 540672, {}},
                                           {"drive-scsi0", 24 * kMiB, {}},
                                           {"drive-scsi1", 16 * kMiB, {}},
                                           {"drive-virtio0", 16 * kMiB, {}}});
    for (auto& disk : guest.disks) disk.content.zero_fraction = 0.1;
    testing::DumpOptions options;
    SUBCASE("no order at all") { options.shuffle = true; }
    SUBCASE("disks by ascending name") { options.ascending = true; }
    SUBCASE("disks side by side") { options.interleave = true; }
    SUBCASE("disks side by side, far out of order") {
        options.interleave = options.ascending = true;
        options.jitter = 430;
    }
    const auto archive = testing::dump(guest, options);
    const auto expected = testing::reference_repack(archive);
    for (const unsigned threads : testing::kThreadCounts) {
        for (const std::uint64_t memory : {std::uint64_t{0}, kMiB, 16 * kMiB}) {
            CAPTURE(threads);
            CAPTURE(memory);
            if (testing::kIsSampled && memory != kMiB) continue;
            const auto [bytes, result] = repack_stream(archive, {ArchiveFormat::raw, threads, memory});
            CHECK(bytes == expected);
            CHECK(result.spilled_bytes > 0);
            CHECK(repack_file(archive, {ArchiveFormat::raw, threads, memory}) == expected);
        }
    }
}

TEST_CASE(
    "every format holds the canonical archive, is verified, and is the same whatever it was made from") {
    for (std::uint64_t seed = 40; seed < 40 + testing::sampled(6); ++seed) {
        CAPTURE(seed);
        auto options = testing::random_dump_options(seed);
        const auto guest = testing::random_guest(seed);
        const auto archive = testing::dump(guest, options);
        options.seed += 1000;
        const auto again = testing::dump(guest, options);
        const auto expected = testing::reference_repack(archive);
        for (const auto to : {ArchiveFormat::zstd, ArchiveFormat::gzip}) {
            CAPTURE(codec::format_name(to));
            const auto canonical = repack_file(archive, {to, 1});
            CHECK(testing::uncompressed(canonical) == expected);
            if (to == ArchiveFormat::zstd)
                CHECK(canonical == testing::reference_zstd(expected, base::kDefaultZstdLevel));
            CHECK(testing::survey_of(testing::stored_as(to, expected)).deviation ==
                  "the header and the regions are not compressed on their own");
            for (const auto from : testing::kAllFormats)
                CHECK(repack_stream(testing::stored_as(from, again), {to, 3, kMiB}).bytes == canonical);
            CHECK(repack_file(canonical, {to, 2}) == canonical);
            CHECK(repack_file(canonical, {ArchiveFormat::raw, 2}) == expected);
        }
        CHECK(testing::uncompressed(repack_file(archive, {ArchiveFormat::lzo, 1})) == expected);
    }
}

TEST_CASE(
    "law: the checksums that are recorded are those of the seek table, for every format and any threads") {
    support::TemporaryDirectory temporary(support::TemporaryDirectory::fast_base());
    io::FileSystem fs;
    const access::ChecksumStore store(temporary / "regions");
    const base::CancelFlag cancel;
    const auto plain = [](std::vector<access::DiskChecksums> disks) {
        std::vector<std::tuple<std::string, std::uint32_t, std::uint32_t, std::uint32_t>> all;
        for (const auto& disk : disks)
            for (const auto& region : disk.regions)
                all.emplace_back(disk.device.name, region.region, region.content_bytes, region.checksum);
        return all;
    };
    for (std::uint64_t seed = 80; seed < 80 + testing::sampled(8); ++seed) {
        const auto archive = testing::dump(testing::random_guest(seed), testing::random_dump_options(seed));
        const auto packed = testing::memory_file(repack_file(archive, {ArchiveFormat::zstd, 1}));
        const auto expected = access::checksums_of(fs, packed, nullptr, cancel).value();
        for (const auto to : {ArchiveFormat::raw, ArchiveFormat::gzip, ArchiveFormat::lzo}) {
            CAPTURE(codec::format_name(to));
            const std::string name = "archive-" + std::to_string(static_cast<int>(to));
            temporary.write(name, "");
            const auto copy = fs.open(temporary / name, O_RDWR | O_TRUNC);
            access::ChecksumRecording recording(fs, store);
            engine::RepackOptions options;
            options.task.threads = static_cast<unsigned>(1 + seed % 3);
            options.format = to;
            options.checksums = &recording;
            (void)testing::run_engine(fs, testing::memory_file(archive), copy, options);
            recording.finish(copy);
            const auto found = access::checksums_of(fs, copy, &store, cancel);
            REQUIRE(found);
            CHECK(plain(*found) == plain(expected));
            const auto content = testing::uncompressed(testing::content_of(copy));
            const auto stored = testing::content_of(copy);
            std::uint64_t sum = 0;
            for (const auto& disk : *found)
                for (const auto& region : disk.regions) {
                    sum += region.stored_bytes;
                    if (to == ArchiveFormat::lzo) continue;
                    // What stands at its place is the region.
                    const auto piece = testing::uncompressed(
                        testing::View(stored).subspan(region.stored_offset, region.stored_bytes));
                    const iovec slice{const_cast<std::byte*>(piece.data()), piece.size()};
                    CHECK(canon::extent_checksum({&slice, 1}) == region.checksum);
                }
            CHECK(sum <= stored.size());
        }
    }
}

TEST_CASE("the headers of a canonical zstd archive tell that it is, those of any other that it is not" *
          doctest::test_suite("single-threaded")) {
    io::FileSystem fs;
    const auto look = [&](testing::View stored) {
        return verify::canonical_by_headers(fs, testing::memory_file(stored), {});
    };
    for (std::uint64_t seed = 60; seed < 70; ++seed) {
        const auto archive = testing::dump(testing::random_guest(seed), testing::random_dump_options(seed));
        const auto canonical = repack_file(archive, {ArchiveFormat::zstd, 1});
        CHECK(look(canonical) == verify::Canonical::yes);
        CHECK(look(testing::View(canonical).first(canonical.size() - 1)) == verify::Canonical::no);
        CHECK(look(testing::stored_as(ArchiveFormat::zstd, archive)) == verify::Canonical::no);
        CHECK(look(testing::stored_as(ArchiveFormat::zstd, testing::uncompressed(canonical))) ==
              verify::Canonical::no);
        CHECK(look(repack_file(archive, {ArchiveFormat::gzip, 1})) == verify::Canonical::unknown);
    }
}
