// A bad read of an archive that is replaced: whichever reading it is in, nothing is replaced by it.
#include <fcntl.h>

#include <cstdlib>
#include <filesystem>
#include <utility>

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <zstd.h>

#include "engine/engine_run.hpp"
#include "repack/in_place.hpp"
#include "support/dump.hpp"
#include "support/memory_file.hpp"
#include "support/reference.hpp"
#include "support/temporary_directory.hpp"
#include "verify/source_check.hpp"

using namespace vmad;
using base::VerifySource;
using repack::InPlaceOutcome;
using testing::ArchiveFormat;

namespace {

/// A disk that gets a byte of the archive wrong while it is read first, for the second time, or both times.
class LyingDisk final : public io::FileSystem {
  public:
    std::optional<std::uint64_t> bad_byte;
    bool lies_first = false;
    bool lies_again = false;
    bool has_direct = true;
    int error_again = 0;                 ///< errno of reads for the second time
    std::uint64_t good_again_bytes = 0;  ///< of the file, before that
    int sync_error = 0;                  ///< errno of a sync of the archive

    explicit LyingDisk(std::string archive) : archive_(std::move(archive)) {}
    [[nodiscard]] bool was_read_again() const noexcept { return again_bytes_ > 0; }
    [[nodiscard]] std::uint64_t again_bytes() const noexcept { return again_bytes_; }

    std::optional<io::File> reopen_direct(const io::File& file) override {
        if (!has_direct) return std::nullopt;
        return io::File(base::UniqueFd(::dup(file.fd())), file.path());
    }
    std::unique_ptr<io::ReadQueue> read_queue(const io::File& file, unsigned) override {
        return io::waiting_reads(*this, file);
    }
    /// The page cache is dropped before a file is read from its device.
    void advise(const io::File& file, std::uint64_t offset, std::uint64_t length, int advice) override {
        if (file.path() == archive_ && length == 0 && advice == POSIX_FADV_DONTNEED) is_second_ = true;
        FileSystem::advise(file, offset, length, advice);
    }
    void sync(const io::File& file) override {
        if (sync_error != 0 && file.path() == archive_)
            throw base::SystemError(std::exchange(sync_error, 0), "sync", archive_);
        FileSystem::sync(file);
    }
    std::size_t read_at(const io::File& file, std::span<const iovec> into, std::uint64_t offset) override {
        auto count = FileSystem::read_at(file, into, offset);
        if (file.path() != archive_) return count;
        if (is_second_ && error_again != 0) {
            if (offset >= good_again_bytes) throw base::SystemError(error_again, "read", archive_);
            count = std::min<std::uint64_t>(count, good_again_bytes - offset);
        }
        if (is_second_) again_bytes_ += count;
        if ((is_second_ ? lies_again : lies_first) && bad_byte >= offset && bad_byte < offset + count)
            flip(into, *bad_byte - offset);
        return count;
    }

  private:
    static void flip(std::span<const iovec> into, std::uint64_t at) {
        for (const auto& slice : into) {
            if (at < slice.iov_len) return void(static_cast<char*>(slice.iov_base)[at] ^= 1);
            at -= slice.iov_len;
        }
    }
    std::string archive_;
    bool is_second_ = false;
    std::uint64_t again_bytes_ = 0;
};

const testing::Bytes& original() {
    static const auto bytes = testing::dump(testing::plausible_guest({{"drive-scsi0", 2 << 20, {}}}));
    return bytes;
}

struct Stage {
    support::TemporaryDirectory archives;
    support::TemporaryDirectory state{support::TemporaryDirectory::fast_base()};
    std::string stored;
    LyingDisk disk{archives / "a.vma"};
    repack::InPlaceOptions options;

    explicit Stage(testing::View bytes = original(),
                   const std::string& base = support::TemporaryDirectory::fast_base())
        : archives(base), stored(reinterpret_cast<const char*>(bytes.data()), bytes.size()) {
        archives.write("a.vma", stored);
        options.announced = true;
        options.lock_directory = state / "locks";
        options.journal = [](const publish::RecoveryRecord&) {};
    }
    InPlaceOutcome run() { return repack::repack_in_place(disk, archives / "a.vma", options).outcome; }
    /// The message of what went wrong; that two reads differ begins it when that was it.
    std::string message() {
        try {
            (void)run();
            return "";
        } catch (const verify::ReadsDiffer& error) {
            return error.what();
        } catch (const base::Error& error) {
            return std::string("other: ") + error.what();
        }
    }
    [[nodiscard]] std::string expected_message(std::uint64_t at) const {
        constexpr std::uint64_t kBlock = std::uint64_t{1} << 20;
        const auto begin = at / kBlock * kBlock;
        return fmt::format(
            "two reads of {} differ at bytes {} to {}: memory, cable or disk may be failing; it was not "
            "replaced",
            archives / "a.vma", begin, std::min<std::uint64_t>(begin + kBlock, stored.size()) - 1);
    }
    void check_untouched() const {
        CHECK(archives.read("a.vma") == stored);
        CHECK(archives.names() == std::set<std::string>{"a.vma"});
    }
};

testing::Bytes without_checksum(testing::View archive) {
    testing::Bytes stored(ZSTD_compressBound(archive.size()));
    stored.resize(ZSTD_compress(stored.data(), stored.size(), archive.data(), archive.size(), 1));
    return stored;
}

testing::Bytes lzo_without_checksum(testing::View archive) {
    const support::TemporaryDirectory directory;
    directory.write("a", {reinterpret_cast<const char*>(archive.data()), archive.size()});
    if (std::system(fmt::format("lzop -F -c {0}/a >{0}/b", directory.path()).c_str()) != 0)
        throw std::runtime_error("lzop");
    return testing::to_bytes(directory.read("b"));
}

}  // namespace

TEST_CASE(
    "an original that its device does not give again is replaced by what is left of it, with a warning") {
    for (const int error : {EIO, ESTALE}) {
        CAPTURE(error);
        Stage stage;
        stage.disk.error_again = error;
        if (error != EIO) {
            CHECK_THROWS_AS((void)stage.run(), base::SystemError);
            stage.check_untouched();
            continue;
        }
        const auto result = repack::repack_in_place(stage.disk, stage.archives / "a.vma", stage.options);
        CHECK(result.outcome == InPlaceOutcome::done);
        CHECK(result.warning ==
              fmt::format("The original could not be read a second time (read {}: "
                          "Input/output error): the new archive holds what the first reading "
                          "gave",
                          stage.archives / "a.vma"));
    }
}

TEST_CASE("an original that its device does not give again, and gave otherwise before, is not replaced") {
    const auto large = testing::dump(testing::plausible_guest({{"drive-scsi0", 24 << 20, {}}}));
    REQUIRE(large.size() > 14 << 20);
    for (const bool lies_first : {false, true}) {
        Stage stage(large);
        stage.disk.error_again = EIO;
        stage.disk.good_again_bytes = 14 << 20;
        stage.disk.bad_byte = 700'000;
        (lies_first ? stage.disk.lies_first : stage.disk.lies_again) = true;
        CHECK(stage.message() == stage.expected_message(700'000));
        stage.check_untouched();
    }
}

TEST_CASE("an original that could not be written to its device is not replaced, as the error is told once") {
    Stage stage;
    stage.disk.sync_error = EIO;
    CHECK_THROWS_AS((void)stage.run(), base::SystemError);
    stage.check_untouched();
}

TEST_CASE("a second read that differs anywhere keeps the archive as it was, and says where") {
    for (const bool has_direct : {true, false}) {
        for (std::uint64_t at = 0; at < original().size(); at += 150001) {
            CAPTURE(at);
            Stage stage;
            stage.disk.has_direct = has_direct;
            stage.disk.bad_byte = at;
            stage.disk.lies_again = true;
            CHECK(stage.message() == stage.expected_message(at));
            stage.check_untouched();
        }
    }
}

TEST_CASE(
    "a first read that is wrong anywhere keeps the archive as it was; without a second one it would not") {
    unsigned differ = 0;
    unsigned spoilt = 0;
    for (std::uint64_t at = 0; at < original().size(); at += 50021) {
        CAPTURE(at);
        Stage stage;
        stage.disk.bad_byte = at;
        stage.disk.lies_first = true;
        const auto message = stage.message();
        // Headers have checksums of their own.
        const bool is_other = message.starts_with("other: ");
        if (!is_other) CHECK(message == stage.expected_message(at));
        differ += is_other ? 0 : 1;
        stage.check_untouched();
        Stage trusting;
        trusting.disk.bad_byte = at;
        trusting.disk.lies_first = true;
        trusting.options.verify_source = VerifySource::off;
        spoilt += trusting.message().empty() ? 1 : 0;
        CHECK_FALSE(trusting.disk.was_read_again());
    }
    CHECK(differ > 20);
    CHECK(spoilt == differ);
}

TEST_CASE("what is wrong in the same way twice is what the disk holds") {
    Stage stage;
    stage.disk.bad_byte = original().size() / 2;
    stage.disk.lies_first = stage.disk.lies_again = true;
    CHECK(stage.run() == InPlaceOutcome::done);
}

TEST_CASE("the next run finds a disk that has come to its senses, and replaces the archive") {
    Stage stage;
    stage.disk.bad_byte = original().size() / 2;
    stage.disk.lies_again = true;
    CHECK_FALSE(stage.message().empty());
    stage.disk.lies_again = false;
    CHECK(stage.run() == InPlaceOutcome::done);
    CHECK(testing::to_bytes(stage.archives.read("a.vma")) == testing::reference_repack(original()));
}

TEST_CASE("read twice is what has no checksum of its content, or all, or nothing") {
    struct Row {
        std::string title;
        testing::Bytes stored;
        bool has_checksum;
    };
    const std::vector<Row> rows{
        {"raw", original(), false},
        {"zstd", testing::stored_as(ArchiveFormat::zstd, original()), true},
        {"zstd without checksum", without_checksum(original()), false},
        {"zstd, its second frame without checksum",
         [] {
             const testing::View all = original();
             auto both = testing::stored_as(ArchiveFormat::zstd, all.first(100000));
             const auto second = without_checksum(all.subspan(100000));
             both.insert(both.end(), second.begin(), second.end());
             return both;
         }(),
         false},
        {"gzip", testing::stored_as(ArchiveFormat::gzip, original()), true},
        {"lzo", testing::stored_as(ArchiveFormat::lzo, original()), true},
        {"lzo without checksum", lzo_without_checksum(original()), false},
    };
    for (const auto& [title, stored, has_checksum] : rows) {
        for (const auto when : {VerifySource::automatic, VerifySource::always, VerifySource::off}) {
            CAPTURE(title);
            CAPTURE(static_cast<int>(when));
            Stage stage(stored);
            stage.options.verify_source = when;
            std::uint64_t checked_bytes = 0;
            bool ended = false;
            stage.options.repack.task.progress = [&](const base::Progress& progress) {
                if (progress.stage != base::Stage::checking) return;
                checked_bytes = progress.done_bytes;
                ended = progress.ended;
            };
            CHECK(stage.run() == InPlaceOutcome::done);
            const bool is_twice =
                when == VerifySource::always || (when == VerifySource::automatic && !has_checksum);
            CHECK(stage.disk.was_read_again() == is_twice);
            CHECK(checked_bytes == (is_twice ? stored.size() : 0));
            CHECK(ended);
        }
    }
}

TEST_CASE("an archive that is what it was published as is not read twice for other configs") {
    // On a disk: memory file systems have no user attributes in older kernels.
    Stage stage(original(), std::filesystem::temp_directory_path().string());
    CHECK(stage.run() == InPlaceOutcome::done);
    stage.options.repack.edit_configs = [](std::vector<vma::Config> configs) {
        configs.push_back({"note", "hello"});
        return configs;
    };
    LyingDisk disk(stage.archives / "a.vma");
    CHECK(repack::repack_in_place(disk, stage.archives / "a.vma", stage.options).outcome ==
          InPlaceOutcome::done);
    CHECK_FALSE(disk.was_read_again());
    // Its attribute is lost, as on a copy.
    stage.archives.write("a.vma", stage.archives.read("a.vma"));
    stage.options.repack.edit_configs = [](std::vector<vma::Config> configs) {
        configs.pop_back();
        return configs;
    };
    disk.bad_byte = 100000;
    disk.lies_again = true;
    CHECK_THROWS_AS((void)repack::repack_in_place(disk, stage.archives / "a.vma", stage.options),
                    verify::ReadsDiffer);
}

TEST_CASE("the second read is cancelled, and an archive that grows under it was changed") {
    for (const bool grows : {true, false}) {
        CAPTURE(grows);
        Stage stage;
        base::CancelFlag cancel;
        stage.options.repack.task.cancel = &cancel;
        stage.options.repack.task.progress = [&](const base::Progress& progress) {
            if (progress.stage != base::Stage::checking || progress.ended) return;
            if (!grows) return cancel.request();
            stage.archives.append("a.vma", "more");
        };
        if (grows) {
            CHECK(stage.run() == InPlaceOutcome::changed);
        } else {
            CHECK_THROWS_AS((void)stage.run(), base::Cancelled);
            stage.check_untouched();
        }
    }
}
