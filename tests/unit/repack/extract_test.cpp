#include "repack/extract.hpp"

#include <fcntl.h>

#include <atomic>
#include <set>

#include <doctest/doctest.h>

#include "codec/seek_frame.hpp"
#include "codec/zstd_form.hpp"
#include "engine/engine_run.hpp"
#include "support/damage.hpp"
#include "support/dump.hpp"
#include "support/fault_file_system.hpp"
#include "support/frame_table.hpp"
#include "support/reference.hpp"
#include "support/temporary_directory.hpp"

using namespace vmad;
using support::FaultFileSystem;
using support::TemporaryDirectory;
using testing::Bytes;

namespace {

std::string text_of(const Bytes& bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// An archive in a file, and a directory to extract it to.
struct Fixture {
    TemporaryDirectory temporary{TemporaryDirectory::fast_base()};
    FaultFileSystem fs;

    explicit Fixture(const Bytes& archive) { temporary.write("archive", text_of(archive)); }

    repack::ExtractResult extract(const repack::ExtractOptions& options = {}) {
        const auto file = fs.open(temporary / "archive", O_RDONLY);
        auto source = codec::ArchiveSource::of_file(fs, file, io::CacheUse::keep, {});
        return repack::extract(fs, source, &file, temporary / "out", options);
    }
    [[nodiscard]] std::set<std::string> names() const {
        std::set<std::string> result;
        if (!temporary.has("out")) return result;
        for (const auto& entry : std::filesystem::directory_iterator(temporary / "out"))
            result.insert(entry.path().filename().string());
        return result;
    }
    /// By name, what a correct extraction leaves in the directory.
    static std::map<std::string, std::string> files_of(const testing::Contents& contents) {
        std::map<std::string, std::string> result;
        for (const auto& [name, bytes] : contents.disks) result["disk-" + name + ".raw"] = text_of(bytes);
        for (const auto& [name, bytes] : contents.configs) result[name] = text_of(bytes);
        return result;
    }
    [[nodiscard]] std::map<std::string, std::string> files() const {
        std::map<std::string, std::string> result;
        for (const auto& name : names()) result[name] = temporary.read("out/" + name);
        return result;
    }
};

testing::Guest small_guest() {
    return testing::plausible_guest({{"drive-scsi0", 3 << 20, {}}, {"drive-efidisk0", 540672, {.seed = 2}}});
}

const Bytes& small_archive() {
    static const auto archive = testing::dump(small_guest());
    return archive;
}

bool are_file_names(const testing::Contents& contents) {
    std::set<std::string> names;
    for (const auto& [name, bytes] : contents.disks)
        if (name.find('/') != name.npos || !names.insert("disk-" + name + ".raw").second) return false;
    for (const auto& [name, bytes] : contents.configs)
        if (name.find('/') != name.npos || name == "." || name == ".." || !names.insert(name).second)
            return false;
    return true;
}

bool fit_file_system(const testing::Contents& contents) {
    for (const auto& [name, bytes] : Fixture::files_of(contents))
        if (name.size() > 255) return false;
    return true;
}

}  // namespace

TEST_CASE("the files are what the guest had, however it was dumped and with any number of threads") {
    for (std::uint64_t seed = 1; seed <= 60; ++seed) {
        CAPTURE(seed);
        const auto guest = testing::random_guest(seed);
        const auto contents = testing::contents_of(guest);
        Fixture fixture(testing::dump(guest, testing::random_dump_options(seed)));
        repack::ExtractOptions options;
        options.task.threads = 1 + seed % 4;
        if (!are_file_names(contents)) {
            CHECK_THROWS_AS(fixture.extract(options), base::InvalidArchive);
            CHECK(fixture.names().empty());
        } else if (!fit_file_system(contents)) {
            CHECK_THROWS_AS(fixture.extract(options), base::SystemError);
            CHECK(fixture.names().empty());
        } else {
            const auto result = fixture.extract(options);
            CHECK(result.files.size() == fixture.names().size());
            CHECK(fixture.files() == Fixture::files_of(contents));
        }
    }
}

TEST_CASE("zeros are holes, and files are private") {
    const auto guest = testing::plausible_guest({{"drive-scsi0", (64 << 20) + 512, {.zero_fraction = 1}}});
    testing::DumpOptions dump;
    dump.stored_zeros = 0.5;
    Fixture fixture(testing::dump(guest, dump));
    const auto result = fixture.extract();
    struct stat status {};
    REQUIRE(::stat((fixture.temporary / "out/disk-drive-scsi0.raw").c_str(), &status) == 0);
    CHECK(status.st_size == (64 << 20) + 512);
    CHECK(status.st_blocks == 0);
    CHECK((status.st_mode & 07777) == 0600);
    CHECK(result.written_bytes == guest.configs[0].data.size());
    CHECK(result.size_bytes == (64 << 20) + 512 + guest.configs[0].data.size());
}

TEST_CASE("named disks come alone") {
    Fixture fixture(small_archive());
    repack::ExtractOptions options;
    options.devices = {"drive-efidisk0", "drive-efidisk0"};
    CHECK(fixture.extract(options).files == std::vector<std::string>{"disk-drive-efidisk0.raw"});
    CHECK(fixture.names() == std::set<std::string>{"disk-drive-efidisk0.raw"});
    const auto contents = testing::contents_of(small_guest());
    CHECK(fixture.temporary.read("out/disk-drive-efidisk0.raw") ==
          text_of(contents.disks.at("drive-efidisk0")));
}

TEST_CASE("a disk that is not there is named, and so are those that are") {
    Fixture fixture(small_archive());
    repack::ExtractOptions options;
    options.devices = {"drive-scsi0", "drive-scsi1"};
    CHECK_THROWS_WITH_AS(fixture.extract(options),
                         "the archive has no device drive-scsi1; it has drive-efidisk0, drive-scsi0",
                         base::UsageError);
    CHECK_FALSE(fixture.temporary.has("out"));
    Fixture without(testing::dump(testing::plausible_guest({})));
    CHECK_THROWS_WITH_AS(without.extract(options), "the archive has no device drive-scsi0; it has none",
                         base::UsageError);
}

TEST_CASE("names that lead elsewhere are refused before anything is made") {
    struct Row {
        std::string disk;
        std::vector<std::string> configs;
        std::string message;
    };
    const Row rows[] = {
        {"../x", {}, "\"disk-../x.raw\" in the header is not a valid file name"},
        {"a/b", {}, "\"disk-a/b.raw\" in the header is not a valid file name"},
        {"x", {"/etc/passwd"}, "\"/etc/passwd\" in the header is not a valid file name"},
        {"x", {".."}, "\"..\" in the header is not a valid file name"},
        {"x", {"."}, "\".\" in the header is not a valid file name"},
        {"x", {"a", "a"}, "two files would have the name a"},
        {"x", {"disk-x.raw"}, "two files would have the name disk-x.raw"},
    };
    for (const auto& row : rows) {
        testing::Guest guest{{}, {{row.disk, 4096, {}}}};
        for (const auto& name : row.configs) guest.configs.push_back({name, testing::to_bytes("data")});
        Fixture fixture(testing::dump(guest));
        CHECK_THROWS_WITH_AS(fixture.extract(), row.message.c_str(), base::InvalidArchive);
        CHECK_FALSE(fixture.temporary.has("out"));
    }
}

TEST_CASE("existing files are kept, or replaced when that is wanted") {
    Fixture fixture(small_archive());
    std::filesystem::create_directory(fixture.temporary / "out");
    fixture.temporary.write("out/qemu-server.conf", "mine");
    fixture.temporary.write("out/other", "other");
    CHECK_THROWS_WITH_AS(fixture.extract(),
                         (fixture.temporary / "out/qemu-server.conf exists; --force replaces it").c_str(),
                         base::UsageError);
    CHECK(fixture.names() == std::set<std::string>{"other", "qemu-server.conf"});
    CHECK(fixture.temporary.read("out/qemu-server.conf") == "mine");
    repack::ExtractOptions options;
    options.force = true;
    for (int i = 0; i < 2; ++i) {
        CHECK(fixture.extract(options).files.size() == 3);
        auto expected = Fixture::files_of(testing::contents_of(small_guest()));
        expected["other"] = "other";
        CHECK(fixture.files() == expected);
    }
}

TEST_CASE("a link in the directory is not followed") {
    Fixture fixture(small_archive());
    std::filesystem::create_directory(fixture.temporary / "out");
    std::filesystem::create_symlink("../victim", fixture.temporary / "out/qemu-server.conf");
    CHECK_THROWS_AS(fixture.extract(), base::UsageError);
    repack::ExtractOptions options;
    options.force = true;
    CHECK(fixture.extract(options).files.size() == 3);
    CHECK_FALSE(fixture.temporary.has("victim"));
    CHECK(fixture.files() == Fixture::files_of(testing::contents_of(small_guest())));
}

TEST_CASE("nothing is left of a damaged archive") {
    for (const auto& damage : testing::damages()) {
        CAPTURE(damage.id);
        const auto damaged = damage.build();
        for (const bool unnamed : {true, false}) {
            Fixture fixture(damaged.bytes);
            fixture.fs.has_unnamed = unnamed;
            // What looks like another kind of file may be unsupported already for what kind it is.
            if (damage.id.rfind("other-", 0) == 0)
                CHECK_THROWS_AS(fixture.extract(), base::Error);
            else if (damage.unsupported)
                CHECK_THROWS_AS(fixture.extract(), base::Unsupported);
            else
                CHECK_THROWS_AS(fixture.extract(), base::FormatError);
            CHECK(fixture.names().empty());
        }
    }
}

TEST_CASE("file systems without unnamed files or hard links will do") {
    for (const bool links : {true, false}) {
        Fixture fixture(small_archive());
        fixture.fs.has_unnamed = false;
        fixture.fs.has_links = links;
        CHECK(fixture.extract().files.size() == 3);
        CHECK(fixture.files() == Fixture::files_of(testing::contents_of(small_guest())));
    }
}

TEST_CASE("nothing is left when it is stopped") {
    Fixture fixture(small_archive());
    base::CancelFlag cancel;
    cancel.request();
    repack::ExtractOptions options;
    options.task.cancel = &cancel;
    for (const bool unnamed : {true, false}) {
        fixture.fs.has_unnamed = unnamed;
        CHECK_THROWS_AS(fixture.extract(options), base::Cancelled);
        CHECK(fixture.names().empty());
    }
}

TEST_CASE("whichever call fails, nothing is left") {
    for (const std::string operation :
         {"open", "status", "read_at", "make_directory", "status_at", "open_unnamed", "open_at", "truncate",
          "write_at", "sync", "link_unnamed", "link"})
        for (const bool unnamed : {true, false})
            for (unsigned failing = 1;; ++failing) {
                CAPTURE(operation);
                CAPTURE(failing);
                Fixture fixture(small_archive());
                fixture.fs.has_unnamed = unnamed;
                std::atomic<unsigned> count = 0;
                fixture.fs.before = [&](const support::Call& call) {
                    if (call.operation == operation && ++count == failing) FaultFileSystem::fail(EIO, call);
                };
                bool failed = false;
                try {
                    (void)fixture.extract();
                } catch (const base::SystemError&) {
                    failed = true;
                }
                // What has no hard links goes without.
                const bool was_reached = count >= failing;
                CHECK(failed == (was_reached && operation != "link"));
                if (failed) CHECK(fixture.names().empty());
                if (!was_reached) break;
            }
}

TEST_CASE("single disks are read by the seek table only of a canonical archive; else all of it is checked") {
    io::FileSystem fs;
    const auto guest = testing::plausible_guest({{"drive-scsi0", 1 << 20, {}}, {"drive-scsi1", 1 << 20, {}}});
    const auto copy = testing::memory_file();
    engine::RepackOptions to_zstd;
    to_zstd.format = codec::ArchiveFormat::zstd;
    (void)testing::run_engine(fs, testing::memory_file(testing::dump(guest)), copy, to_zstd);
    const auto stored = testing::content_of(copy);
    auto found = codec::read_seek_table(fs, copy).table;
    REQUIRE(found);
    const auto table = testing::FrameTable::read(std::move(*found));
    REQUIRE(table.frames.size() == 5);  // the header, scsi1 and what fills it up, scsi0 and the same
    auto header = codec::read_frame(fs, copy, table.frames[0], stored.size() * 1000).value();

    for (const bool canonical : {true, false}) {
        CAPTURE(canonical);
        if (!canonical) {
            header[100] = std::byte{1};  // reserved, so the archive is valid all the same
            const auto checksum = vma::checksum(header.data(), header.size(), 32);
            std::copy(checksum.begin(), checksum.end(), header.begin() + 32);
        }
        auto archive = testing::stored_as(codec::ArchiveFormat::zstd, header);
        const auto filling = codec::make_filling(codec::filling_bytes(archive.size()));
        archive.insert(archive.end(), filling.begin(), filling.end());
        testing::FrameTable other;
        other.add(static_cast<std::uint32_t>(archive.size()), table.frames[0].bytes);
        for (std::size_t i = 1; i < table.frames.size(); ++i) {
            const auto& frame = table.frames[i];
            const auto begin = stored.begin() + static_cast<std::ptrdiff_t>(frame.stored_offset);
            archive.insert(archive.end(), begin, begin + frame.stored_bytes);
            other.add(frame.stored_bytes, frame.bytes);
        }
        const auto damaged_at = other.frames[1].stored_offset + other.frames[1].stored_bytes / 2;
        const auto end = other.encode(0x12345678);
        archive.insert(archive.end(), end.begin(), end.end());
        repack::ExtractOptions one;
        one.devices = {"drive-scsi0"};
        CHECK(Fixture(archive).extract(one).files == std::vector<std::string>{"disk-drive-scsi0.raw"});
        archive[damaged_at] ^= std::byte{1};
        Fixture fixture(archive);
        if (canonical)
            CHECK_NOTHROW((void)fixture.extract(one));
        else
            CHECK_THROWS_AS((void)fixture.extract(one), base::FormatError);
    }
}
