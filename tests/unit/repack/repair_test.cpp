// A damaged archive becomes, out of other backups, what it was; or it stays as it is.
#include "repack/repair.hpp"

#include <sys/resource.h>
#include <sys/stat.h>

#include <set>

#include <doctest/doctest.h>

#include "access/extent_search.hpp"
#include "engine/engine_run.hpp"
#include "publish/file_identity.hpp"
#include "support/dump.hpp"
#include "support/fault_file_system.hpp"
#include "support/random.hpp"
#include "support/reference.hpp"
#include "support/temporary_directory.hpp"

using namespace vmad;
using repack::InPlaceOutcome;
using testing::ArchiveFormat;

namespace {

constexpr std::uint64_t kRegion = canon::kRegionBytes;
constexpr std::uint64_t kRegionBlocks = kRegion / 4096;

/// scsi0 has three regions and a bit, scsi1 two, one of them empty.
testing::Guest guest_of(std::uint64_t seed) {
    testing::Content dense{.seed = seed, .zero_fraction = 0.1, .run_blocks = 16};
    testing::Content sparse{.seed = seed + 1, .zero_fraction = 0.9, .run_blocks = 512};
    return testing::plausible_guest(
        {{"drive-scsi0", 3 * kRegion + 12288, dense}, {"drive-scsi1", 2 * kRegion, sparse}});
}

/// The regions of scsi0 that are named are others.
testing::Guest changed(testing::Guest guest, std::initializer_list<std::uint64_t> regions) {
    for (const auto region : regions)
        guest.disks[0].content.changed[region * kRegionBlocks + 7] = 99 + region;
    return guest;
}

const char* ending_of(ArchiveFormat format) {
    switch (format) {
        case ArchiveFormat::raw:
            return "";
        case ArchiveFormat::zstd:
            return ".zst";
        case ArchiveFormat::gzip:
            return ".gz";
        case ArchiveFormat::lzo:
            return ".lzo";
    }
    return "";
}

std::string text_of(const testing::Bytes& bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// A dump directory with backups of a guest.
struct Stage {
    support::TemporaryDirectory archives{support::TemporaryDirectory::fast_base()};
    support::TemporaryDirectory state{support::TemporaryDirectory::fast_base()};
    support::FaultFileSystem fs;
    access::ChecksumStore store{state / "regions"};
    repack::RepairOptions options;
    std::optional<publish::RecoveryRecord> record;
    std::string name;
    testing::Bytes published;  ///< the archive that is to be damaged
    std::optional<verify::Fingerprint> fingerprint;

    explicit Stage(ArchiveFormat format = ArchiveFormat::zstd, const testing::Guest& guest = guest_of(5)) {
        name = add(3, guest, format);
        published = testing::to_bytes(archives.read(name));
        options.in_place.announced = true;
        options.in_place.lock_directory = state / "locks";
        options.in_place.journal = [this](const publish::RecoveryRecord& made) { record = made; };
        options.in_place.repack.task.threads = 2;
        options.store = &store;
    }

    /// A backup of a day, as vmad publishes it. Returns its name.
    std::string add(int day, const testing::Guest& guest, ArchiveFormat format, bool repacked = true) {
        const auto file =
            "vzdump-qemu-100-2026_01_0" + std::to_string(day) + "-03_04_05.vma" + ending_of(format);
        auto bytes = testing::dump(guest, {.seed = static_cast<std::uint64_t>(day)});
        if (repacked) {
            io::FileSystem plain;
            access::ChecksumRecording recording(plain, store);
            const auto source = testing::memory_file(bytes);
            const auto copy = testing::memory_file();
            engine::RepackOptions repack;
            repack.format = format;
            repack.checksums = &recording;
            const auto result = testing::run_engine(plain, source, copy, repack);
            if (!fingerprint) fingerprint = result.fingerprint;
            archives.write(file, text_of(testing::content_of(copy)));
            recording.finish(plain.open(archives / file, O_RDONLY));
        } else {
            archives.write(file, text_of(bytes));
        }
        return file;
    }

    [[nodiscard]] std::string path() const { return archives / name; }
    /// Of this content, at the time that it was published; the daemon's record, which knows of it, stays.
    void damage(const testing::Bytes& bytes) {
        struct stat status {};
        REQUIRE(::stat(path().c_str(), &status) == 0);
        archives.write(name, text_of(bytes));
        archives.set_modified(name, status.st_mtim);
        verify::PublishedDigest digest{fingerprint->digest.to_hex(), {}};
        for (const auto& [disk, sum] : fingerprint->devices)
            digest.devices[disk] = sum.to_hex().substr(0, 16);
        options.recorded = {digest, bytes.size(), publish::nanoseconds(status.st_mtim)};
    }
    /// Where the extents of the published archive stand, by disk ("scsi0" first) and region.
    [[nodiscard]] access::FoundExtents place(const std::string& disk, std::uint32_t region) const {
        io::FileSystem plain;
        const auto file = testing::memory_file(published);
        const auto format = codec::format_of_file(plain, file);
        const auto header = *verify::canonical_header(plain, file, format);
        const canon::Layout layout(header);
        const auto found = access::search_extents(plain, file, format, layout, nullptr, {});
        for (const auto& device : header.devices)
            if (device.name == disk)
                for (const auto& extents : found.whole)
                    if (extents.number == layout.place(device.id, 0).extent + region) return extents;
        FAIL("no such region");
        return {};
    }
    void flip_in(testing::Bytes& bytes, std::uint32_t region, std::uint64_t at = 1500) const {
        bytes[place("drive-scsi0", region).stored_offset + at] ^= std::byte{0x10};
    }
    repack::RepairResult repair() {
        options.donors = repack::other_backups(fs, path());
        return repack::repair_in_place(fs, path(), options);
    }
    /// Nothing is left but the archives.
    [[nodiscard]] bool is_clean() const {
        for (const auto& file : archives.names())
            if (!file.starts_with("vzdump-")) return false;
        return true;
    }
    [[nodiscard]] testing::Bytes now() const { return testing::to_bytes(archives.read(name)); }
};

std::set<std::string> donors_of(const repack::RepairResult& result) {
    std::set<std::string> donors;
    for (const auto& stretch : result.stretches)
        donors.insert(stretch.donor.substr(stretch.donor.rfind('/') + 1));
    return donors;
}

}  // namespace

TEST_CASE("an archive that is good is left alone") {
    Stage stage;
    stage.damage(stage.published);
    const auto result = stage.repair();
    CHECK_FALSE(result.was_damaged);
    CHECK(result.in_place.outcome == InPlaceOutcome::unchanged);
    CHECK(stage.now() == stage.published);
}

TEST_CASE("a damaged region comes from another backup of any format") {
    for (const auto format : {ArchiveFormat::raw, ArchiveFormat::zstd, ArchiveFormat::gzip})
        for (const auto other : {ArchiveFormat::raw, ArchiveFormat::zstd, ArchiveFormat::gzip}) {
            CAPTURE(format);
            CAPTURE(other);
            Stage stage(format);
            const auto donor = stage.add(2, changed(guest_of(5), {0}), other);
            auto bytes = stage.published;
            stage.flip_in(bytes, 2);
            stage.damage(bytes);
            const auto result = stage.repair();
            CHECK(result.was_damaged);
            CHECK(result.in_place.outcome == InPlaceOutcome::done);
            CHECK(result.proof == verify::DigestOrigin::record);
            CHECK(donors_of(result) == std::set<std::string>{donor});
            CHECK(stage.now() == stage.published);
            CHECK(stage.is_clean());
        }
}

TEST_CASE("a backup that was never repacked gives regions, too") {
    Stage stage;
    const auto donor = stage.add(2, changed(guest_of(5), {0}), ArchiveFormat::raw, false);
    auto bytes = stage.published;
    stage.flip_in(bytes, 1);
    stage.damage(bytes);
    CHECK(donors_of(stage.repair()) == std::set<std::string>{donor});
    CHECK(stage.now() == stage.published);
}

TEST_CASE("several damaged regions come from several backups, the nearest first") {
    Stage stage;
    const auto near = stage.add(4, changed(guest_of(5), {1, 2}), ArchiveFormat::zstd);
    const auto far = stage.add(1, changed(guest_of(5), {0}), ArchiveFormat::zstd);
    auto bytes = stage.published;
    for (const std::uint32_t region : {0, 1, 2, 3}) stage.flip_in(bytes, region, 40);
    stage.damage(bytes);
    const auto result = stage.repair();
    REQUIRE(result.stretches.size() == 3);
    CHECK(result.stretches[0].donor == stage.archives / near);
    CHECK(result.stretches[1].donor == stage.archives / far);
    CHECK(result.stretches[1].stretch == verify::DamagedStretch{"drive-scsi0", kRegion, 2 * kRegion});
    CHECK(result.stretches[2].donor == stage.archives / near);
    CHECK(stage.now() == stage.published);
}

TEST_CASE("a region that no other backup has is named, with those that could be restored; nothing changes") {
    Stage stage;
    stage.add(2, changed(guest_of(5), {1}), ArchiveFormat::zstd);
    stage.add(4, changed(guest_of(5), {1}), ArchiveFormat::raw);
    auto bytes = stage.published;
    stage.flip_in(bytes, 1);
    stage.flip_in(bytes, 3);
    stage.damage(bytes);
    try {
        (void)stage.repair();
        FAIL("repaired");
    } catch (const repack::Irreparable& error) {
        CHECK(std::string(error.what()) ==
              "a damaged region is in no other backup here; 1 could be restored: nothing was changed");
        REQUIRE(error.stretches().size() == 2);
        CHECK_FALSE(error.stretches()[0].is_found);
        CHECK(error.stretches()[0].stretch.offset == kRegion);
        CHECK(error.stretches()[1].is_found);
    }
    CHECK(stage.now() == bytes);
    CHECK(stage.is_clean());
}

TEST_CASE("a donor that is damaged at the place itself is passed over") {
    Stage stage;
    const auto near = stage.add(4, guest_of(5), ArchiveFormat::zstd);
    const auto far = stage.add(1, guest_of(5), ArchiveFormat::zstd);
    auto bytes = stage.published;
    stage.flip_in(bytes, 1);
    stage.damage(bytes);
    auto donor = testing::to_bytes(stage.archives.read(near));
    stage.flip_in(donor, 1, 2500);  // it has the same bytes
    stage.archives.write(near, text_of(donor));
    CHECK(donors_of(stage.repair()) == std::set<std::string>{far});
    CHECK(stage.now() == stage.published);
}

TEST_CASE("what the seek table of a donor says is not believed, whether for or against it") {
    for (const bool claims_to_have : {true, false}) {
        CAPTURE(claims_to_have);
        Stage stage;
        // The day before has another region 1, and claims to have this one; or the other way round.
        const auto liar =
            stage.add(2, claims_to_have ? changed(guest_of(5), {1}) : guest_of(5), ArchiveFormat::zstd);
        io::FileSystem plain;
        const auto own = *access::read_region_checksums(plain, testing::memory_file(stage.published), {});
        const auto scsi0 = std::find_if(own.begin(), own.end(),
                                        [](const auto& disk) { return disk.device.name == "drive-scsi0"; });
        auto donor = testing::to_bytes(stage.archives.read(liar));
        const auto lies = *access::read_region_checksums(plain, testing::memory_file(donor), {});
        const auto& truth = lies[static_cast<std::size_t>(scsi0 - own.begin())].regions[1];
        testing::Bytes old_entry(4);
        testing::put_le(old_entry.data(), 4, truth.checksum);
        const auto entry = std::find_end(donor.begin(), donor.end(), old_entry.begin(), old_entry.end());
        testing::put_le(&*entry, 4, claims_to_have ? scsi0->regions[1].checksum : truth.checksum + 1);
        stage.archives.write(liar, text_of(donor));
        auto bytes = stage.published;
        stage.flip_in(bytes, 1);
        stage.damage(bytes);
        if (claims_to_have) {
            CHECK_THROWS_AS((void)stage.repair(), repack::Irreparable);
            CHECK(stage.now() == bytes);
        } else {
            CHECK(stage.repair().in_place.outcome == InPlaceOutcome::done);
            CHECK(stage.now() == stage.published);
        }
    }
}

TEST_CASE("damage of seek table and fillings needs no other backup") {
    Stage stage;
    const auto last = stage.published.size();
    for (std::size_t at = last - 120; at < last; at += 7) {
        CAPTURE(at);
        auto bytes = stage.published;
        bytes[at] ^= std::byte{0x08};
        stage.damage(bytes);
        const auto result = stage.repair();
        CHECK(result.in_place.outcome == InPlaceOutcome::done);
        CHECK(result.stretches.empty());
        CHECK(stage.now() == stage.published);
    }
    auto bytes = stage.published;
    bytes[stage.place("drive-scsi0", 1).stored_offset - 100] ^= std::byte{1};
    stage.damage(bytes);
    CHECK(stage.repair().was_damaged);
    CHECK(stage.now() == stage.published);
}

TEST_CASE("without a seek table the digest alone tells which region it was") {
    Stage stage;
    stage.add(2, changed(guest_of(5), {1, 2}), ArchiveFormat::zstd);
    stage.add(1, changed(guest_of(5), {3}), ArchiveFormat::zstd);
    auto bytes = stage.published;
    bytes[bytes.size() - 2] ^= std::byte{0x08};
    stage.flip_in(bytes, 1, 40);
    stage.flip_in(bytes, 2, 60);
    stage.flip_in(bytes, 3, 10);
    stage.damage(bytes);
    const auto result = stage.repair();
    CHECK(result.in_place.outcome == InPlaceOutcome::done);
    CHECK(stage.now() == stage.published);
}

TEST_CASE("without a digest the checksums of the seek table are demanded, and that is said") {
    Stage stage;
    stage.add(2, changed(guest_of(5), {1}), ArchiveFormat::zstd);
    auto bytes = stage.published;
    stage.flip_in(bytes, 2);
    stage.damage(bytes);
    stage.options.recorded.reset();
    CHECK(stage.repair().proof == verify::DigestOrigin::none);
    CHECK(stage.now() == stage.published);

    // Nor is there a seek table.
    Stage bare;
    bytes[bytes.size() - 2] ^= std::byte{0x08};
    bare.damage(bytes);
    bare.options.recorded.reset();
    CHECK_THROWS_WITH_AS((void)bare.repair(),
                         "neither a digest nor checksums of its regions are known, so that nothing could be "
                         "proven: nothing was changed",
                         repack::Irreparable);
    CHECK(bare.now() == bytes);
}

TEST_CASE("a record of something else is never met") {
    Stage stage;
    stage.add(2, guest_of(5), ArchiveFormat::zstd);
    auto bytes = stage.published;
    stage.flip_in(bytes, 2);
    stage.damage(bytes);
    stage.options.recorded->published.digest = std::string(32, 'a');
    CHECK_THROWS_AS((void)stage.repair(), repack::Irreparable);
    CHECK(stage.now() == bytes);
}

TEST_CASE("a dry run finds out and writes nothing") {
    Stage stage;
    stage.add(2, guest_of(5), ArchiveFormat::zstd);
    auto bytes = stage.published;
    stage.flip_in(bytes, 2);
    stage.damage(bytes);
    stage.options.dry_run = true;
    const auto result = stage.repair();
    CHECK(result.was_damaged);
    CHECK(result.stretches.size() == 1);
    CHECK(result.in_place.outcome == InPlaceOutcome::unchanged);
    CHECK(stage.now() == bytes);
    CHECK_FALSE(stage.record);
}

TEST_CASE("an archive or a donor that is changed meanwhile is not made anything of") {
    for (const bool is_donor : {false, true}) {
        CAPTURE(is_donor);
        Stage stage;
        const auto donor = stage.add(2, guest_of(5), ArchiveFormat::zstd);
        auto bytes = stage.published;
        stage.flip_in(bytes, 2);
        stage.damage(bytes);
        const auto other = text_of(testing::dump(guest_of(77)));
        stage.fs.before = [&, done = false](const support::Call& call) mutable {
            if (done || call.operation != "write_at" || call.path.find("locks") != std::string::npos) return;
            done = true;
            stage.archives.write(is_donor ? donor : stage.name, other);
        };
        InPlaceOutcome outcome{};
        try {
            outcome = stage.repair().in_place.outcome;
        } catch (const base::Error&) {
            outcome = InPlaceOutcome::unchanged;
        }
        if (is_donor) {
            CHECK((outcome == InPlaceOutcome::done || outcome == InPlaceOutcome::unchanged));
            CHECK((stage.now() == bytes || stage.now() == stage.published));
        } else {
            CHECK(outcome == InPlaceOutcome::changed);
            CHECK(text_of(stage.now()) == other);
        }
        CHECK(stage.is_clean());
    }
}

TEST_CASE("killed at any call, the name holds the damaged archive or the whole one, and recovery cleans up") {
    struct Killed {};
    unsigned total = 0;
    bool was_published = false;
    bool was_not = false;
    Stage stage;
    stage.add(2, guest_of(5), ArchiveFormat::zstd);
    auto bytes = stage.published;
    stage.flip_in(bytes, 2);
    for (unsigned number = 1; total == 0 || number <= total; number += 7) {
        CAPTURE(number);
        stage.damage(bytes);
        stage.record.reset();
        stage.fs.forget_calls();
        stage.fs.before = [&](const support::Call& call) {
            if (call.number >= number && total != 0) throw Killed();
        };
        try {
            (void)stage.repair();
            if (total == 0) total = stage.fs.calls();
        } catch (const Killed&) {
        }
        stage.fs.before = nullptr;
        if (stage.record)
            (void)repack::recover_in_place(stage.fs, stage.path(), stage.options.in_place, *stage.record);
        const auto now = stage.now();
        CHECK((now == bytes || now == stage.published));
        (now == bytes ? was_not : was_published) = true;
        CHECK(stage.is_clean());
    }
    CHECK(was_published);
    CHECK(was_not);
}

TEST_CASE("whatever fails, nothing is published that is not whole") {
    Stage stage;
    stage.add(2, guest_of(5), ArchiveFormat::zstd);
    auto bytes = stage.published;
    stage.flip_in(bytes, 2);
    testing::Random random(4);
    stage.damage(bytes);
    (void)stage.repair();
    const auto total = stage.fs.calls();
    for (int round = 0; round < 60; ++round) {
        const auto number = 1 + random.below(total);
        const int error = std::array{EIO, ENOSPC, EACCES, ENOMEM}[random.below(4)];
        CAPTURE(number);
        CAPTURE(error);
        stage.damage(bytes);
        stage.record.reset();
        stage.fs.forget_calls();
        stage.fs.before = [&](const support::Call& call) {
            if (call.number == number) support::FaultFileSystem::fail(error, call);
        };
        try {
            (void)stage.repair();
        } catch (const base::Error&) {
        }
        stage.fs.before = nullptr;
        if (stage.record)
            (void)repack::recover_in_place(stage.fs, stage.path(), stage.options.in_place, *stage.record);
        const auto now = stage.now();
        CHECK((now == bytes || now == stage.published));
        CHECK(stage.is_clean());
    }
}

TEST_CASE("regions of which nothing is known take little memory") {
    constexpr std::uint64_t kRegions = 100'000;
    Stage stage(ArchiveFormat::raw);
    auto header =
        *verify::canonical_header(stage.fs, testing::memory_file(stage.published), ArchiveFormat::raw);
    header.devices = {{1, "drive-scsi0", kRegions * kRegion}};
    auto bytes = canon::Layout(header).header();
    bytes.resize(bytes.size() + (kRegions + 1000) * vma::kExtentHeaderSize);
    stage.damage(bytes);
    struct rusage before {};
    REQUIRE(::getrusage(RUSAGE_SELF, &before) == 0);
    CHECK_THROWS_AS((void)stage.repair(), repack::Irreparable);
    struct rusage after {};
    REQUIRE(::getrusage(RUSAGE_SELF, &after) == 0);
    CHECK(after.ru_maxrss - before.ru_maxrss < 400'000);
    CHECK(stage.is_clean());
}

TEST_CASE("what is kept of an archive with other disks proves nothing") {
    Stage stage(ArchiveFormat::raw);
    stage.add(2, guest_of(5), ArchiveFormat::raw);
    auto bytes = stage.published;
    stage.flip_in(bytes, 1, 40);  // in the header of its extent
    stage.damage(bytes);
    stage.options.recorded.reset();
    access::ChecksumRecording recording(stage.fs, stage.store);
    recording.begin({{1, "drive-scsi0", 8 * kRegion}});
    recording.finish(stage.fs.open(stage.path(), O_RDONLY));
    CHECK_THROWS_AS((void)stage.repair(), repack::Irreparable);
    CHECK(stage.now() == bytes);
}

TEST_CASE("other backups are read only while something is not found") {
    Stage stage;
    stage.add(2, guest_of(5), ArchiveFormat::zstd);
    const auto far = stage.add(1, guest_of(5), ArchiveFormat::gzip);
    auto bytes = stage.published;
    stage.flip_in(bytes, 1);
    stage.damage(bytes);
    bool is_opened = false;
    stage.fs.before = [&](const support::Call& call) {
        is_opened = is_opened || call.path == stage.archives / far;
    };
    CHECK(stage.repair().in_place.outcome == InPlaceOutcome::done);
    CHECK_FALSE(is_opened);
}
