#include "access/checksum_store.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <filesystem>

#include <doctest/doctest.h>

#include "canon/layout.hpp"
#include "support/dump.hpp"
#include "support/random.hpp"
#include "support/reference.hpp"
#include "support/temporary_directory.hpp"

using namespace vmad;
using access::ChecksumRecording;
using access::ChecksumStore;
using access::DiskChecksums;
using access::RegionChecksum;
using support::TemporaryDirectory;

namespace {

bool same(const std::vector<DiskChecksums>& a, const std::vector<DiskChecksums>& b) {
    const auto region = [](const RegionChecksum& r) {
        return std::tuple(r.region, r.content_bytes, r.checksum, r.stored_bytes, r.stored_offset);
    };
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [&](const auto& one, const auto& other) {
        return one.device == other.device &&
               std::equal(one.regions.begin(), one.regions.end(), other.regions.begin(), other.regions.end(),
                          [&](const auto& x, const auto& y) { return region(x) == region(y); });
    });
}

std::vector<DiskChecksums> random_checksums(std::uint64_t seed) {
    testing::Random random(seed);
    std::vector<DiskChecksums> disks(random.below(4));
    std::uint64_t offset = 65536;
    for (std::size_t i = 0; i < disks.size(); ++i) {
        disks[i].device = {static_cast<std::uint8_t>(5 + i), "drive-scsi" + std::to_string(i),
                           (1 + random.below(9000)) * canon::kRegionBytes};
        for (std::uint32_t region = 0; region * canon::kRegionBytes < disks[i].device.size_bytes; ++region) {
            if (random.below(3) == 0) continue;
            disks[i].regions.push_back({region, static_cast<std::uint32_t>(4096 * (1 + random.below(512))),
                                        static_cast<std::uint32_t>(random.below(UINT32_MAX)), 4096, offset});
            offset += 4096;
        }
    }
    return disks;
}

struct Fixture {
    TemporaryDirectory temporary{TemporaryDirectory::fast_base()};
    io::FileSystem fs;
    std::string directory = temporary / "regions";
    ChecksumStore store{directory};

    [[nodiscard]] io::File archive(const std::string& name, const std::string& content = "x") {
        if (!std::filesystem::exists(temporary / name)) temporary.write(name, content);
        return fs.open(temporary / name, O_RDONLY);
    }
    void keep(const io::File& file, const std::vector<DiskChecksums>& disks, bool backwards = false) {
        ChecksumRecording recording(fs, store);
        std::vector<vma::Device> devices;
        for (const auto& disk : disks) devices.push_back(disk.device);
        recording.begin(devices);
        for (const auto& disk : disks) {
            auto regions = disk.regions;
            if (backwards) std::reverse(regions.begin(), regions.end());
            for (const auto& region : regions) recording.add(disk.device.id, region);
        }
        recording.finish(file);
    }
    [[nodiscard]] std::vector<std::string> kept() const {
        std::vector<std::string> names;
        if (!std::filesystem::exists(directory)) return names;
        for (const auto& entry : std::filesystem::directory_iterator(directory))
            names.push_back(entry.path());
        return names;
    }
};

}  // namespace

TEST_CASE("law: what was recorded is what is found, in whatever order it came") {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        CAPTURE(seed);
        Fixture fixture;
        const auto disks = random_checksums(seed);
        const auto file = fixture.archive("a.vma");
        CHECK_FALSE(fixture.store.find(fixture.fs, file));
        fixture.keep(file, disks, seed % 2 == 0);
        const auto found = fixture.store.find(fixture.fs, file);
        REQUIRE(found);
        CHECK(same(*found, disks));
        REQUIRE(fixture.kept().size() == 1);
        struct stat status {};
        REQUIRE(::stat(fixture.kept()[0].c_str(), &status) == 0);
        CHECK((status.st_mode & 07777) == 0600);
    }
}

TEST_CASE("another name, size or time is another archive; another directory is not") {
    Fixture fixture;
    const auto disks = random_checksums(3);
    fixture.keep(fixture.archive("a.vma"), disks);
    CHECK_FALSE(fixture.store.find(fixture.fs, fixture.archive("b.vma")));
    std::filesystem::create_directory(fixture.temporary / "moved");
    std::filesystem::rename(fixture.temporary / "a.vma", fixture.temporary / "moved/a.vma");
    auto file = fixture.fs.open(fixture.temporary / "moved/a.vma", O_RDWR);
    CHECK(fixture.store.find(fixture.fs, file));
    const auto modified = fixture.fs.status(file).st_mtim;
    fixture.fs.truncate(file, 2);
    fixture.fs.set_modified(file, modified);
    CHECK_FALSE(fixture.store.find(fixture.fs, file));
    fixture.fs.truncate(file, 1);
    fixture.fs.set_modified(file, {modified.tv_sec, modified.tv_nsec + 1});
    CHECK_FALSE(fixture.store.find(fixture.fs, file));
    fixture.fs.set_modified(file, modified);
    CHECK(fixture.store.find(fixture.fs, file));
}

TEST_CASE("what was damaged, cut off or written by others counts as not there") {
    Fixture fixture;
    const auto file = fixture.archive("a.vma");
    fixture.keep(file, random_checksums(7));
    REQUIRE(fixture.kept().size() == 1);
    const auto path = fixture.kept()[0];
    const auto name = path.substr(fixture.temporary.path().size() + 1);
    const auto whole = fixture.temporary.read(name);
    const auto found = [&] { return fixture.store.find(fixture.fs, file).has_value(); };
    const auto put = [&](const std::string& content) { fixture.temporary.write(name, content); };
    REQUIRE(found());
    testing::Random random(1);
    for (int i = 0; i < 200; ++i) {
        auto damaged = whole;
        damaged[random.below(damaged.size())] ^= static_cast<char>(1 + random.below(255));
        put(damaged);
        const auto disks = fixture.store.find(fixture.fs, file);
        CHECK((!disks || same(*disks, random_checksums(7))));  // a bit of a frame's header may not matter
    }
    for (int i = 0; i < 50; ++i) {
        put(whole.substr(0, random.below(whole.size())));
        CHECK_FALSE(found());
    }
    put(whole);
    CHECK(found());
    std::filesystem::permissions(path, std::filesystem::perms(0620));
    CHECK_FALSE(found());
    std::filesystem::permissions(path, std::filesystem::perms(0600));
    CHECK(found());
    std::filesystem::permissions(fixture.directory, std::filesystem::perms(0770));
    CHECK_FALSE(found());
}

TEST_CASE("there is never more than the store may hold: the longest unused go") {
    Fixture fixture;
    const auto disks = random_checksums(5);
    const auto first = fixture.archive("a.vma");
    fixture.keep(first, disks);
    const auto each = std::filesystem::file_size(fixture.kept()[0]);
    fixture.store = ChecksumStore(fixture.directory, 2 * each + each / 2);
    fixture.keep(fixture.archive("b.vma"), disks);
    for (const auto& path : fixture.kept())
        std::filesystem::last_write_time(
            path, std::filesystem::file_time_type::clock::now() - std::chrono::hours(1));
    CHECK(fixture.store.find(fixture.fs, first));
    fixture.keep(fixture.archive("c.vma"), disks);
    CHECK(fixture.kept().size() == 2);
    CHECK(fixture.store.find(fixture.fs, first));
    CHECK_FALSE(fixture.store.find(fixture.fs, fixture.archive("b.vma")));
    CHECK(fixture.store.find(fixture.fs, fixture.archive("c.vma")));
    fixture.store = ChecksumStore(fixture.directory, each / 2);
    fixture.keep(fixture.archive("d.vma"), disks);
    CHECK_FALSE(fixture.store.find(fixture.fs, fixture.archive("d.vma")));
}

TEST_CASE("nothing is kept without a place, and none of it is an error") {
    Fixture fixture;
    const auto file = fixture.archive("a.vma");
    fixture.store = ChecksumStore("");
    fixture.keep(file, random_checksums(5));
    CHECK_FALSE(fixture.store.find(fixture.fs, file));
    fixture.store = ChecksumStore(fixture.temporary / "a.vma/regions");
    fixture.keep(file, random_checksums(5));
    CHECK_FALSE(fixture.store.find(fixture.fs, file));
}

TEST_CASE("law: a raw archive's checksums are those of the seek table of the same archive") {
    for (std::uint64_t seed = 1; seed <= 12; ++seed) {
        CAPTURE(seed);
        Fixture fixture;
        const auto raw = testing::reference_repack(
            testing::dump(testing::random_guest(seed), testing::random_dump_options(seed)));
        const auto zstd = testing::reference_zstd(raw, 1);
        const auto file = fixture.archive("a.vma", {reinterpret_cast<const char*>(raw.data()), raw.size()});
        const auto packed =
            fixture.archive("a.vma.zst", {reinterpret_cast<const char*>(zstd.data()), zstd.size()});
        const base::CancelFlag cancel;
        CHECK_FALSE(access::checksums_of(fixture.fs, file, &fixture.store, cancel));
        auto read = access::read_raw_checksums(fixture.fs, file, &fixture.store, cancel);
        auto listed = access::checksums_of(fixture.fs, packed, nullptr, cancel);
        REQUIRE(read);
        REQUIRE(listed);
        CHECK(same(*read, access::checksums_of(fixture.fs, file, &fixture.store, cancel).value()));
        for (auto* disks : {&*read, &*listed})
            for (auto& disk : *disks)
                for (auto& region : disk.regions) region.stored_bytes = 0, region.stored_offset = 0;
        CHECK(same(*read, *listed));
        CHECK_FALSE(access::read_raw_checksums(fixture.fs, packed, &fixture.store, cancel));
    }
}
