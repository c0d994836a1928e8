#include "access/index_cache.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <doctest/doctest.h>

#include "access/archive_index.hpp"
#include "support/dump.hpp"
#include "support/random.hpp"
#include "support/reference.hpp"
#include "support/temporary_directory.hpp"

using namespace vmad;
using access::ArchiveIndex;
using access::IndexCache;
using support::TemporaryDirectory;
using testing::Bytes;

namespace {

/// Counts reads of the archive, and lets writes fail.
class CountingFileSystem final : public io::FileSystem {
  public:
    std::size_t read_at(const io::File& file, std::span<const iovec> into, std::uint64_t offset) override {
        if (file.path().ends_with(".vma")) ++archive_reads;
        return FileSystem::read_at(file, into, offset);
    }
    std::size_t write_at(const io::File& file, std::span<const iovec> from, std::uint64_t offset) override {
        if (is_full) throw io::NoSpace("no space");
        return FileSystem::write_at(file, from, offset);
    }
    std::size_t archive_reads = 0;
    bool is_full = false;
};

struct Fixture {
    TemporaryDirectory temporary{TemporaryDirectory::fast_base()};
    CountingFileSystem fs;
    std::string directory = temporary / "no/such";
    std::size_t max_files = 3;
    std::uint64_t max_bytes = 1 << 20;

    void write(const std::string& name, const Bytes& archive) const {
        temporary.write(name, {reinterpret_cast<const char*>(archive.data()), archive.size()});
    }

    /// All that the index of an archive says, and how many reads of the archive it took.
    std::pair<std::vector<std::byte>, std::size_t> read(const std::string& name,
                                                        std::uint64_t min_headers = 0) {
        const auto file = fs.open(temporary / name, O_RDONLY);
        const IndexCache cache({directory, min_headers, max_files, max_bytes});
        fs.archive_reads = 0;
        const auto index = ArchiveIndex::read(fs, file, {}, &cache);
        const auto reads = fs.archive_reads;
        std::vector<std::byte> all;
        for (const auto& device : index->header().devices)
            for (const auto region : index->stored_regions(device.id)) {
                const auto loaded = index->load({device.id, region}).value();
                for (unsigned block = 0; block < canon::kRegionBytes / vma::kBlockSize; ++block)
                    if (const auto* bytes = loaded.block(block)) all.insert(all.end(), bytes, bytes + 4096);
            }
        return {std::move(all), reads};
    }
    [[nodiscard]] std::vector<std::string> kept() const {
        std::vector<std::string> names;
        if (!std::filesystem::exists(directory)) return names;
        for (const auto& entry : std::filesystem::directory_iterator(directory))
            names.push_back(entry.path());
        return names;
    }
};

/// Many small extents.
Bytes archive_of(std::uint64_t seed) {
    auto options = testing::random_dump_options(seed);
    options.slots_per_extent = 1;
    return testing::dump(testing::plausible_guest({{"drive-scsi0", 5 << 20, {.seed = seed}}}), options);
}

}  // namespace

TEST_SUITE_BEGIN("single-threaded");

TEST_CASE("law: the index that was kept is the index, and the archive's headers are not read again") {
    for (std::uint64_t seed = 1; seed <= 12; ++seed) {
        CAPTURE(seed);
        Fixture fixture;
        fixture.directory = fixture.temporary / "cache";
        const auto archive = archive_of(seed);
        for (const auto& bytes : {archive, testing::reference_repack(archive)}) {
            fixture.write("a.vma", bytes);
            const auto [first, reads] = fixture.read("a.vma");
            const auto [second, reads_again] = fixture.read("a.vma");
            CHECK(second == first);
            CHECK(reads_again < 10);
            CHECK((bytes != archive || reads > 60));
            CHECK(fixture.kept().size() == 1);
        }
    }
}

TEST_CASE("what was kept is private, its directory made, and only enough headers are kept") {
    Fixture fixture;
    fixture.write("a.vma", archive_of(1));
    (void)fixture.read("a.vma", 1000);
    CHECK(fixture.kept().empty());
    (void)fixture.read("a.vma", 80);
    REQUIRE(fixture.kept().size() == 1);
    struct stat status {};
    REQUIRE(::stat(fixture.directory.c_str(), &status) == 0);
    CHECK((status.st_mode & 07777) == 0700);
    REQUIRE(::stat(fixture.kept()[0].c_str(), &status) == 0);
    CHECK((status.st_mode & 07777) == 0600);
}

TEST_CASE("the longest unused are removed, and what a killed process has left") {
    Fixture fixture;
    fixture.directory = fixture.temporary / "cache";
    const auto archive = archive_of(1);
    for (const char* name : {"a.vma", "b.vma", "c.vma"}) {
        fixture.write(name, archive);
        (void)fixture.read(name);
        for (const auto& path : fixture.kept())
            fixture.temporary.set_modified(path.substr(fixture.temporary.path().size() + 1),
                                           {.tv_sec = 1000, .tv_nsec = 0});
    }
    (void)fixture.read("a.vma");  // used: not the oldest any more
    for (const char* name : {"cache/.vmad-0123456789abcdef.tmp", "cache/else"}) {
        fixture.temporary.write(name, "x");
        fixture.temporary.set_modified(name, {.tv_sec = 1000, .tv_nsec = 0});
    }
    fixture.write("d.vma", archive);
    (void)fixture.read("d.vma");
    CHECK(fixture.kept().size() == 4);
    CHECK(fixture.temporary.has("cache/else"));
    CHECK_FALSE(fixture.temporary.has("cache/.vmad-0123456789abcdef.tmp"));
    CHECK(fixture.read("a.vma").second < 10);
    CHECK(fixture.read("d.vma").second < 10);
    fixture.max_bytes = 1;
    fixture.write("e.vma", archive);
    (void)fixture.read("e.vma");
    CHECK(fixture.kept().size() == 2);
    CHECK(fixture.read("e.vma").second < 10);
}

TEST_CASE("a changed archive is read, and so is any whose cache is damaged, foreign or cannot be had") {
    Fixture fixture;
    fixture.directory = fixture.temporary / "cache";
    fixture.write("a.vma", archive_of(1));
    const auto expected = fixture.read("a.vma").first;
    const auto path = fixture.kept().at(0);
    const auto name = path.substr(fixture.temporary.path().size() + 1);
    const auto good = fixture.temporary.read(name);
    const auto is_read = [&] {
        const auto [content, reads] = fixture.read("a.vma");
        CHECK(content == expected);
        return reads > 60;
    };
    CHECK_FALSE(is_read());
    testing::Random random(1);
    for (unsigned round = 0; round < 60; ++round) {
        auto bad = good;
        if (round % 4 == 0)
            bad.resize(random.below(bad.size()));
        else
            bad[random.below(bad.size())] ^= static_cast<char>(1 << random.below(8));
        fixture.temporary.write(name, bad);
        (void)is_read();
        CHECK_FALSE(is_read());  // it was written anew
    }
    fixture.write("a.vma", archive_of(2));
    fixture.temporary.write(name, good);
    fixture.temporary.set_modified("a.vma", {.tv_sec = 1000, .tv_nsec = 0});
    CHECK(fixture.read("a.vma").second > 60);
    fixture.write("a.vma", archive_of(1));
    CHECK(is_read());
    CHECK_FALSE(is_read());
    REQUIRE(::chmod(path.c_str(), 0666) == 0);
    CHECK(is_read());
    REQUIRE(::chmod(fixture.directory.c_str(), 0777) == 0);
    CHECK(is_read());
    fixture.directory = "/proc/none";
    CHECK(is_read());
    fixture.directory = "";
    CHECK(is_read());
    fixture.directory = fixture.temporary / "other";
    fixture.fs.is_full = true;
    CHECK(is_read());
    CHECK(fixture.kept().empty());
}

TEST_SUITE_END();
