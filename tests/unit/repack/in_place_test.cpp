#include "repack/in_place.hpp"

#include <sys/sysmacros.h>

#include <doctest/doctest.h>

#include "engine/engine_run.hpp"
#include "publish/inode_lock.hpp"
#include "support/dump.hpp"
#include "support/fault_file_system.hpp"
#include "support/memory_file.hpp"
#include "support/pretended_mount.hpp"
#include "support/reference.hpp"
#include "support/temporary_directory.hpp"
#include "verify/published_digest.hpp"

using namespace vmad;
using repack::InPlaceOutcome;

namespace {

std::string text_of(const testing::Bytes& bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

const std::string& original_text() {
    static const auto text = text_of(testing::dump(testing::plausible_guest({{"drive-scsi0", 1 << 20, {}}})));
    return text;
}

const std::string& canonical_text() {
    static const auto text = text_of(testing::reference_repack(testing::to_bytes(original_text())));
    return text;
}

/// A directory with one archive in it, and one for the locks.
struct Stage {
    support::TemporaryDirectory archives{support::TemporaryDirectory::fast_base()};
    support::TemporaryDirectory state{support::TemporaryDirectory::fast_base()};
    const std::string& original = original_text();
    const std::string& canonical = canonical_text();
    std::optional<publish::RecoveryRecord> record;
    repack::InPlaceOptions options;

    Stage() {
        archives.write("a.vma", original);
        options.announced = true;
        options.lock_directory = state / "locks";
        options.journal = [this](const publish::RecoveryRecord& publication) { record = publication; };
    }
    [[nodiscard]] std::string path() const { return archives / "a.vma"; }
};

}  // namespace

TEST_CASE("an archive becomes canonical under its name, and is left alone the next time") {
    Stage stage;
    io::FileSystem fs;
    const auto first = repack::repack_in_place(fs, stage.path(), stage.options);
    CHECK(first.outcome == InPlaceOutcome::done);
    CHECK(first.size_before == stage.original.size());
    CHECK(first.size_after == stage.canonical.size());
    CHECK(stage.archives.read("a.vma") == stage.canonical);
    CHECK(repack::repack_in_place(fs, stage.path(), stage.options).outcome == InPlaceOutcome::unchanged);
    CHECK(stage.archives.names() == std::set<std::string>{"a.vma"});
}

TEST_CASE("what the device does not keep as it was written leaves the original as it was") {
    /// Flips a bit of the first block that is written.
    class Forgetful final : public io::FileSystem {
      public:
        std::size_t write_at(const io::File& file, std::span<const iovec> from,
                             std::uint64_t offset) override {
            const auto written = FileSystem::write_at(file, from, offset);
            constexpr std::uint64_t kPlace = 65536 + vma::kExtentHeaderSize + 100;
            if (offset > kPlace || offset + written <= kPlace) return written;
            std::byte byte{};
            iovec one{&byte, 1};
            (void)FileSystem::read_at(file, {&one, 1}, kPlace);
            byte ^= std::byte{0x10};
            (void)FileSystem::write_at(file, {&one, 1}, kPlace);
            return written;
        }
    } fs;
    Stage stage;
    CHECK_THROWS_AS((void)repack::repack_in_place(fs, stage.path(), stage.options),
                    verify::VerificationError);
    CHECK(stage.archives.read("a.vma") == stage.original);
    CHECK(stage.archives.names() == std::set<std::string>{"a.vma"});
}

namespace {

/// A disk that does not rotate, below everything, and flips a bit of what is read directly at one place.
class SolidStateDisk final : public io::FileSystem {
  public:
    std::optional<std::uint64_t> bad_byte;

    SolidStateDisk() { sys_.write("rotational", "0\n"); }
    io::File open(const std::string& path, int flags, mode_t mode = 0) override {
        const bool is_queue = path.starts_with("/sys/dev/block/8:1/");
        return FileSystem::open(is_queue ? sys_ / "rotational" : path, flags, mode);
    }
    struct stat status(const io::File& file) override {
        auto status = FileSystem::status(file);
        status.st_dev = makedev(8, 1);
        return status;
    }
    std::optional<io::File> reopen_direct(const io::File& file) override {
        return io::File(base::UniqueFd(::dup(file.fd())), "direct");
    }
    std::unique_ptr<io::ReadQueue> read_queue(const io::File& file, unsigned) override {
        return io::waiting_reads(*this, file);
    }
    std::size_t read_at(const io::File& file, std::span<const iovec> into, std::uint64_t offset) override {
        const auto count = FileSystem::read_at(file, into, offset);
        if (file.path() == "direct" && bad_byte >= offset && bad_byte < offset + count)
            static_cast<char*>(into.front().iov_base)[*bad_byte - offset] ^= 1;
        return count;
    }

  private:
    support::TemporaryDirectory sys_{support::TemporaryDirectory::fast_base()};
};

}  // namespace

TEST_CASE("what is read back wrongly behind the writer, at any place, leaves the original as it was") {
    for (std::uint64_t bad_byte = 0; bad_byte < canonical_text().size(); bad_byte += 50021) {
        CAPTURE(bad_byte);
        Stage stage;
        SolidStateDisk fs;
        fs.bad_byte = bad_byte;
        std::optional<verify::ReadBack> chosen;
        stage.options.read_back_chosen = [&](verify::ReadBack read_back) { chosen = read_back; };
        CHECK_THROWS_AS((void)repack::repack_in_place(fs, stage.path(), stage.options),
                        verify::VerificationError);
        CHECK(chosen == verify::ReadBack::behind_writer);
        CHECK(stage.archives.read("a.vma") == stage.original);
        CHECK(stage.archives.names() == std::set<std::string>{"a.vma"});
        fs.bad_byte.reset();
        CHECK(repack::repack_in_place(fs, stage.path(), stage.options).outcome == InPlaceOutcome::done);
        CHECK(stage.archives.read("a.vma") == stage.canonical);
    }
}

TEST_CASE("a missing, a young, a damaged and a busy archive") {
    Stage stage;
    io::FileSystem fs;
    CHECK(repack::repack_in_place(fs, stage.archives / "other.vma", stage.options).outcome ==
          InPlaceOutcome::vanished);
    CHECK_THROWS_AS((void)repack::repack_in_place(fs, stage.archives / "none/a.vma", stage.options),
                    publish::StorageMissing);
    stage.options.announced = false;
    const auto young = repack::repack_in_place(fs, stage.path(), stage.options);
    CHECK(young.outcome == InPlaceOutcome::too_recent);
    CHECK(young.ready_in_seconds > 0);
    CHECK(young.ready_in_seconds <= publish::kMinimumAgeSeconds);
    stage.options.announced = true;

    io::FileSystem other;
    const auto file = other.open(stage.path(), O_RDONLY);
    {
        const auto lock = publish::InodeLock::take(other, stage.options.lock_directory,
                                                   publish::identity_of(other.status(file)));
        REQUIRE(lock);
        CHECK(repack::repack_in_place(fs, stage.path(), stage.options).outcome == InPlaceOutcome::locked);
    }
    stage.archives.write("a.vma", stage.original.substr(0, stage.original.size() - 1));
    CHECK_THROWS_AS((void)repack::repack_in_place(fs, stage.path(), stage.options), base::FormatError);
    CHECK(stage.archives.names() == std::set<std::string>{"a.vma"});
}

TEST_CASE("an archive that somebody writes to meanwhile is changed, not damaged") {
    Stage stage;
    support::FaultFileSystem fs;
    unsigned reads = 0;
    fs.before = [&](const support::Call& call) {
        if (call.operation == "read_at" && ++reads == 4) stage.archives.append("a.vma", "more");
    };
    CHECK(repack::repack_in_place(fs, stage.path(), stage.options).outcome == InPlaceOutcome::changed);
    CHECK(stage.archives.read("a.vma") == stage.original + "more");
    CHECK(stage.archives.names() == std::set<std::string>{"a.vma"});
}

TEST_CASE("whichever operation fails, the name holds the whole old or new archive, and settling cleans up") {
    for (const bool has_exchange : {true, false}) {
        for (const bool has_unnamed : {true, false}) {
            for (unsigned failing = 1;; ++failing) {
                CAPTURE(failing);
                Stage stage;
                support::FaultFileSystem fs;
                fs.has_exchange = has_exchange;
                fs.has_unnamed = has_unnamed;
                bool failed = false;
                fs.before = [&](const support::Call& call) {
                    if (call.number != failing) return;
                    failed = true;
                    support::FaultFileSystem::fail(EIO, call);
                };
                try {
                    (void)repack::repack_in_place(fs, stage.path(), stage.options);
                } catch (const base::Error&) {
                }
                const auto content = stage.archives.read("a.vma");
                CHECK((content == stage.original || content == stage.canonical));
                io::FileSystem good;
                if (stage.record)
                    CHECK(repack::recover_in_place(good, stage.path(), stage.options, *stage.record));
                CHECK(stage.archives.names() == std::set<std::string>{"a.vma"});
                const auto outcome = repack::repack_in_place(good, stage.path(), stage.options).outcome;
                CHECK((outcome == InPlaceOutcome::done || outcome == InPlaceOutcome::unchanged));
                CHECK(stage.archives.read("a.vma") == stage.canonical);
                if (!failed) break;
            }
        }
    }
}

TEST_CASE("on a network file system the old file is kept until it is settled, elsewhere never") {
    for (const char* type : {"nfs4", "ext4"}) {
        for (const bool has_exchange : {true, false}) {
            for (const bool keep : {true, false}) {
                CAPTURE(type);
                CAPTURE(has_exchange);
                CAPTURE(keep);
                Stage stage;
                support::PretendedMount fs;
                fs.pretend(stage.archives.path(), type);
                fs.has_exchange = has_exchange;
                stage.options.keep_original = keep;
                const bool kept = keep && std::string(type) == "nfs4";
                const auto result = repack::repack_in_place(fs, stage.path(), stage.options);
                CHECK(result.outcome == (kept ? InPlaceOutcome::in_grace_period : InPlaceOutcome::done));
                CHECK(result.size_before == stage.original.size());
                CHECK(result.size_after == stage.canonical.size());
                CHECK(stage.archives.read("a.vma") == stage.canonical);
                CHECK(stage.archives.names().size() == (kept ? 2 : 1));
                if (kept) {
                    const auto old_name = has_exchange ? stage.record->temporary : stage.record->old;
                    CHECK(stage.archives.read(old_name) == stage.original);
                    // It is nobody's archive, and the new one is left alone.
                    CHECK_THROWS_AS(
                        (void)repack::repack_in_place(fs, stage.archives / old_name, stage.options),
                        base::Error);
                    CHECK(repack::repack_in_place(fs, stage.path(), stage.options).outcome ==
                          InPlaceOutcome::unchanged);
                }
                CHECK(repack::recover_in_place(fs, stage.path(), stage.options, *stage.record)->outcome ==
                      InPlaceOutcome::done);
                CHECK(stage.archives.read("a.vma") == stage.canonical);
                CHECK(stage.archives.names() == std::set<std::string>{"a.vma"});
            }
        }
    }
}

TEST_CASE("the reserve is left free, beside the archive and for what is spilled there") {
    Stage stage;
    io::FileSystem fs;
    const auto space = fs.space(fs.open(stage.archives.path(), O_RDONLY | O_DIRECTORY));
    const auto available = space.f_bavail * space.f_frsize;
    stage.options.reserve_bytes = available;
    CHECK_THROWS_AS((void)repack::repack_in_place(fs, stage.path(), stage.options), io::NoSpace);
    stage.options.reserve_bytes = 0;
    // At each look somebody else has filled the disk but for a bit: the first look is before all others.
    struct FillingDisk : io::FileSystem {
        unsigned looks = 0;
        unsigned full_at = 0;
        struct statvfs space(const io::File& file) override {
            auto result = io::FileSystem::space(file);
            if (++looks == full_at) result.f_bavail = 1;
            return result;
        }
    };
    unsigned looks = 0;
    for (bool was_full = true; was_full; ++looks) {
        CAPTURE(looks);
        FillingDisk filling;
        filling.full_at = looks + 1;
        stage.options.repack.memory_bytes = 0;  // so that it spills, if it must
        try {
            (void)repack::repack_in_place(filling, stage.path(), stage.options);
            was_full = false;
        } catch (const io::NoSpace&) {
            CHECK(stage.archives.read("a.vma") == stage.original);
            CHECK(stage.archives.names() == std::set<std::string>{"a.vma"});
        }
    }
    CHECK(looks > 2);
    CHECK(stage.archives.read("a.vma") == stage.canonical);
}

TEST_CASE("a disk that is full at any operation leaves a compressed archive as it was, or replaced") {
    const auto guest =
        testing::plausible_guest({{"drive-scsi0", 4 << 20, {}}, {"drive-scsi1", 300 << 10, {}}});
    testing::DumpOptions order;
    order.ascending = true;  // so that all of the first disk is spilled
    const auto archive = testing::dump(guest, order);
    const auto expected = testing::reference_repack(archive);
    for (const auto kind :
         {testing::ArchiveFormat::zstd, testing::ArchiveFormat::gzip, testing::ArchiveFormat::lzo}) {
        CAPTURE(codec::format_name(kind));
        const auto original = text_of(testing::stored_as(kind, archive));
        bool spilled = false;
        for (unsigned failing = 1;; ++failing) {
            CAPTURE(failing);
            Stage stage;
            stage.archives.write("a.vma", original);
            stage.options.repack.memory_bytes = 0;
            support::FaultFileSystem fs;
            std::string failed;
            fs.before = [&](const support::Call& call) {
                if (call.number != failing) return;
                failed = call.operation;
                support::FaultFileSystem::fail(ENOSPC, call);
            };
            try {
                const auto result = repack::repack_in_place(fs, stage.path(), stage.options);
                spilled = spilled || result.spilled_bytes > 0;
            } catch (const io::NoSpace&) {
            } catch (const base::Error&) {
                CHECK(failed != "write_at");
            }
            io::FileSystem good;
            if (stage.record)
                CHECK(repack::recover_in_place(good, stage.path(), stage.options, *stage.record));
            CHECK(stage.archives.names() == std::set<std::string>{"a.vma"});
            const auto content = stage.archives.read("a.vma");
            if (content != original) CHECK(testing::uncompressed(testing::to_bytes(content)) == expected);
            if (failed.empty()) {
                CHECK(content != original);
                break;
            }
        }
        CHECK(spilled);
    }
}

TEST_CASE("of gzip and lzo, what vmad has published tells that they are canonical") {
    // On a disk: memory file systems have no user attributes in older kernels.
    const support::TemporaryDirectory archives;
    Stage stage;
    io::FileSystem fs;
    for (const auto kind : testing::kAllFormats) {
        CAPTURE(codec::format_name(kind));
        const auto archive = testing::to_bytes(stage.original);
        archives.write("a", text_of(testing::stored_as(kind, archive)));
        CHECK(repack::repack_in_place(fs, archives / "a", stage.options).outcome == InPlaceOutcome::done);
        const auto once = archives.read("a");
        CHECK(repack::repack_in_place(fs, archives / "a", stage.options).outcome ==
              InPlaceOutcome::unchanged);
        CHECK(text_of(testing::uncompressed(testing::to_bytes(once))) == stage.canonical);
        // A copy has lost the attribute; then the headers must tell, or it is done again.
        archives.remove("a");
        archives.write("a", once);
        const bool headers_tell = kind == testing::ArchiveFormat::raw || kind == testing::ArchiveFormat::zstd;
        CHECK(repack::repack_in_place(fs, archives / "a", stage.options).outcome ==
              (headers_tell ? InPlaceOutcome::unchanged : InPlaceOutcome::done));
        if (kind != testing::ArchiveFormat::lzo) CHECK(archives.read("a") == once);
    }
}

TEST_CASE("a published archive carries its digest, which counts until it is written to") {
    // On a disk: memory file systems have no user attributes in older kernels.
    const support::TemporaryDirectory archives;
    Stage stage;
    archives.write("a.vma", stage.original);
    io::FileSystem fs;
    REQUIRE(repack::repack_in_place(fs, archives / "a.vma", stage.options).outcome == InPlaceOutcome::done);
    const auto file = fs.open(archives / "a.vma", O_RDONLY);
    const auto published = verify::published_digest(fs, file);
    REQUIRE(published);
    const auto digest = published->digest;
    CHECK(digest == testing::content_digest(testing::to_bytes(stage.original)));

    // A block goes bad on the device: nothing but its content tells.
    const auto modified = fs.status(file).st_mtim;
    auto bytes = archives.read("a.vma");
    auto& byte = bytes[65536 + vma::kExtentHeaderSize];
    byte = static_cast<char>(byte ^ 1);
    // Closed at once: nobody may have it open for writing while it is replaced.
    const auto write_all = [&] {
        iovec all{bytes.data(), bytes.size()};
        io::write_fully_at(fs, fs.open(archives / "a.vma", O_WRONLY), {&all, 1}, 0);
    };
    write_all();
    CHECK_FALSE(verify::published_digest(fs, file));  // written to
    fs.set_modified(file, modified);
    REQUIRE(verify::published_digest(fs, file));
    CHECK(verify::published_digest(fs, file)->digest == digest);
    auto source = codec::ArchiveSource::of_file(fs, file, io::CacheUse::keep, {});
    const auto survey = verify::survey(source, {});
    CHECK(survey.digest.to_hex() != digest);
    // It is in the last of the disks by name: the first one in the archive.
    CHECK(published->differing_devices(survey.device_digests) ==
          std::vector{std::prev(survey.device_digests.end())->first});
    // That would be published with a digest that fits it.
    auto options = stage.options;
    options.repack.edit_configs = [](std::vector<vma::Config>) { return std::vector<vma::Config>(); };
    CHECK_THROWS_WITH_AS((void)repack::repack_in_place(fs, archives / "a.vma", options),
                         ("content digest mismatch: drive-scsi0 was damaged since vmad wrote it (expected " +
                          digest + ", found " + survey.digest.to_hex() + ")")
                             .c_str(),
                         base::InvalidArchive);
    CHECK(archives.read("a.vma") == bytes);
    CHECK(archives.names() == std::set<std::string>{"a.vma"});
    byte = static_cast<char>(byte ^ 1);
    write_all();
    fs.set_modified(file, modified);
    CHECK(repack::repack_in_place(fs, archives / "a.vma", options).outcome == InPlaceOutcome::done);
    for (const char* nonsense : {"", "{", "[]", "{}", R"({"digest":7})"}) {
        fs.set_attribute(file, "user.vmad", nonsense);
        CHECK_FALSE(verify::published_digest(fs, file));
    }
}

TEST_CASE("an archive that makes no sense yet, because somebody writes to it, is not called damaged") {
    Stage stage;
    io::FileSystem fs;
    const auto path = stage.archives / "a.vma";
    const auto replace = [&] {
        return repack::replace_in_place(fs, path, stage.options,
                                        [](const io::File&) -> std::optional<repack::Replacement> {
                                            throw base::InvalidArchive("header", "half of one");
                                        });
    };
    CHECK_THROWS_AS((void)replace(), base::InvalidArchive);
    if (fs.try_lease(fs.open(path, O_RDONLY)) != io::Lease::held) return;
    const auto writer = fs.open(path, O_WRONLY);
    CHECK(replace().outcome == InPlaceOutcome::open_for_writing);
}
