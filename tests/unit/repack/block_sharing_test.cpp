#include "repack/block_sharing.hpp"

#include <fcntl.h>

#include <doctest/doctest.h>

#include "support/dump.hpp"
#include "support/reference.hpp"
#include "support/sharing_file_system.hpp"
#include "support/temporary_directory.hpp"

using namespace vmad;
using repack::BlockSharingResult;
using repack::SharingOutcome;
using support::SharingFileSystem;

namespace {

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
constexpr std::uint64_t kPage = SharingFileSystem::kPage;

std::string canonical(const testing::Guest& guest, bool is_zstd, int level = 1,
                      std::uint64_t ctime = 1700000000) {
    testing::DumpOptions options;
    options.ctime = ctime;
    auto bytes = testing::reference_repack(testing::dump(guest, options));
    if (is_zstd) bytes = testing::reference_zstd(bytes, level);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

testing::Guest guest_of(std::uint64_t seed, std::uint64_t mib) {
    testing::Content content;
    content.seed = seed;
    content.zero_fraction = 0.1;
    return testing::plausible_guest(
        {{"drive-efidisk0", 540672, content}, {"drive-scsi0", mib * kMiB, content}});
}

/// A directory with two backups of a guest, of which some blocks have changed in between.
struct Stage {
    support::TemporaryDirectory directory{support::TemporaryDirectory::fast_base()};
    SharingFileSystem fs;
    std::string older_text;
    std::string newer_text;
    io::File place;
    io::File older;
    io::File newer;

    Stage(std::uint64_t kind, std::string before, std::string after)
        : older_text(std::move(before)), newer_text(std::move(after)) {
        fs.kind = kind;
        fs.shown_free_bytes = [] { return std::uint64_t{1} << 40; };
        directory.write("older", older_text);
        directory.write("newer", newer_text);
        open();
    }
    void open() {
        place = fs.open(directory.path(), O_RDONLY | O_DIRECTORY);
        older = fs.open(directory / "older", O_RDONLY);
        newer = fs.open(directory / "newer", O_RDONLY);
        (void)fs.room_pages({&older, &newer});
        fs.forget_calls();
    }
    BlockSharingResult share(const repack::BlockSharingOptions& options = {}) {
        return repack::share_blocks(fs, place, older, newer, options);
    }
    [[nodiscard]] std::uint64_t room() { return fs.room_pages({&older, &newer}); }
    void check_untouched() const {
        CHECK(directory.names() == std::set<std::string>{"newer", "older"});
        CHECK(directory.read("older") == older_text);
        CHECK(directory.read("newer") == newer_text);
    }
};

struct Case {
    std::uint64_t kind;
    bool is_zstd;
};
const std::vector<Case>& cases() {
    static const std::vector<Case> all{{SharingFileSystem::kXfs, false},
                                       {SharingFileSystem::kXfs, true},
                                       {BTRFS_SUPER_MAGIC, false},
                                       {BTRFS_SUPER_MAGIC, true}};
    return all;
}

std::uint64_t pages_of(const std::string& text) { return (text.size() + kPage - 1) / kPage; }

}  // namespace

TEST_CASE("law: what is shared is saved, nothing else changes, and the second time there is nothing to do") {
    for (const auto& [kind, is_zstd] : cases())
        for (const std::uint64_t changed : {0, 1, 20, 400}) {
            CAPTURE(kind);
            CAPTURE(is_zstd);
            CAPTURE(changed);
            auto guest = guest_of(changed, 20);
            const auto before = canonical(guest, is_zstd);
            testing::change_blocks(guest, changed, changed);
            Stage stage(kind, before, canonical(guest, is_zstd, 1, 1700086400));
            const auto apart = stage.room();
            CHECK(apart == pages_of(stage.older_text) + pages_of(stage.newer_text));

            const auto first = stage.share();
            CHECK(first.outcome == SharingOutcome::shared);
            CHECK(first.shared_before_bytes == 0);
            CHECK(first.shared_bytes % kPage == 0);
            CHECK(stage.room() == apart - first.shared_bytes / kPage);
            // Of 11 regions, each change spoils at most one.
            const auto kept = changed >= 11 ? 0 : stage.newer_text.size() * (10 - changed) / 11;
            CHECK(first.shared_bytes >= kept * 9 / 10);
            if (!is_zstd) CHECK(first.shared_bytes >= stage.newer_text.size() / 2);
            stage.check_untouched();

            const auto room = stage.room();
            stage.fs.share_calls = 0;
            stage.fs.read_bytes = 0;
            const auto second = stage.share();
            CHECK(second.shared_bytes == 0);
            CHECK(stage.fs.share_calls == 0);
            CHECK(stage.room() == room);
            CHECK(stage.fs.read_bytes < 6 * kMiB);  // the last region, perhaps, of both
        }
}

TEST_CASE(
    "law: whichever call fails, and however, the archives are as they were, and another run shares the "
    "rest") {
    constexpr std::array kErrors{EIO, ENOSPC, EDQUOT, EPERM, EOPNOTSUPP, EROFS};
    for (const auto& [kind, is_zstd] : cases()) {
        auto guest = guest_of(3, 4);
        const auto before = canonical(guest, is_zstd);
        testing::change_blocks(guest, 1, 7);
        const auto after = canonical(guest, is_zstd);
        Stage undisturbed(kind, before, after);
        (void)undisturbed.share();
        const auto calls = undisturbed.fs.calls();
        const auto room = undisturbed.room();
        CHECK(calls > 10);
        for (unsigned number = 1; number <= calls; ++number) {
            CAPTURE(kind);
            CAPTURE(is_zstd);
            CAPTURE(number);
            Stage stage(kind, before, after);
            const auto error = kErrors[number / 2 % kErrors.size()];
            auto& hook = number % 2 == 0 ? stage.fs.before : stage.fs.after;
            hook = [&](const support::Call& call) {
                if (call.number == number) SharingFileSystem::fail(error, call);
            };
            try {
                (void)stage.share();
            } catch (const base::Error&) {
            }
            hook = nullptr;
            stage.check_untouched();
            CHECK(stage.share().outcome == SharingOutcome::shared);
            CHECK(stage.room() <= room + room / 50);
            stage.check_untouched();
        }
    }
}

TEST_CASE("a kernel that shares less than it is asked for is asked again") {
    auto guest = guest_of(4, 6);
    const auto archive = canonical(guest, false);
    Stage whole(SharingFileSystem::kXfs, archive, archive);
    (void)whole.share();
    Stage pieces(SharingFileSystem::kXfs, archive, archive);
    pieces.fs.most_shared = 3 * kPage;
    CHECK(pieces.share().shared_bytes == archive.size() / kPage * kPage);
    CHECK(pieces.room() == whole.room());
    Stage nothing(SharingFileSystem::kXfs, archive, archive);
    nothing.fs.most_shared = 0;
    CHECK(nothing.share().shared_bytes == 0);
    nothing.check_untouched();
}

TEST_CASE("what differs although the checksums agree is left out") {
    auto guest = guest_of(5, 8);
    const auto archive = canonical(guest, true);
    Stage stage(SharingFileSystem::kXfs, archive, archive);
    // A damaged byte in the middle: the seek table does not know.
    stage.newer_text[archive.size() / 2] ^= 1;
    stage.directory.write("newer", stage.newer_text);
    stage.open();
    const auto result = stage.share();
    CHECK(result.shared_bytes > archive.size() - 160 * 1024);
    CHECK(result.shared_bytes < archive.size());
    stage.check_untouched();
}

TEST_CASE("a refusal ends it, and is told") {
    const auto archive = canonical(guest_of(6, 4), true);
    for (const int number : {EOPNOTSUPP, EXDEV, EINVAL, EPERM}) {
        Stage stage(SharingFileSystem::kXfs, archive, archive);
        stage.fs.refusal = number;
        const auto result = stage.share();
        CHECK(result.outcome == SharingOutcome::unavailable);
        CHECK(result.refusal == number);
        CHECK(stage.fs.share_calls == 1);
        stage.check_untouched();
    }
    Stage other(EXT4_SUPER_MAGIC, archive, archive);
    const auto result = other.share();
    CHECK(result.outcome == SharingOutcome::unavailable);
    CHECK(result.refusal == 0);
    CHECK(other.fs.share_calls == 0);
}

TEST_CASE("archives that do not suit are told apart") {
    const auto guest = guest_of(7, 4);
    const auto raw = canonical(guest, false);
    const auto zstd = canonical(guest, true);
    const auto dump = testing::dump(guest);
    const std::string as_dumped{reinterpret_cast<const char*>(dump.data()), dump.size()};
    const auto outcome = [](const std::string& older, const std::string& newer) {
        Stage stage(SharingFileSystem::kXfs, older, newer);
        const auto result = stage.share().outcome;
        CHECK((stage.fs.share_calls == 0 || result == SharingOutcome::shared));
        stage.check_untouched();
        return result;
    };
    CHECK(outcome(raw, zstd) == SharingOutcome::other_format);
    CHECK(outcome(as_dumped, raw) == SharingOutcome::older_unsuitable);
    CHECK(outcome(zstd, as_dumped) == SharingOutcome::newer_unsuitable);
    CHECK(outcome(zstd, canonical(guest, true, 19)) == SharingOutcome::shared);
    Stage same(SharingFileSystem::kXfs, raw, raw);
    CHECK(repack::share_blocks(same.fs, same.place, same.newer, same.newer, {}).shared_bytes == 0);
}

TEST_CASE("a dry run finds the same, and shares nothing") {
    auto guest = guest_of(8, 12);
    const auto before = canonical(guest, false);
    testing::change_blocks(guest, 5, 8);
    Stage stage(SharingFileSystem::kXfs, before, canonical(guest, false));
    const auto expected = stage.share({.task = {}, .dry_run = true, .store = nullptr, .reserve_bytes = {}});
    CHECK(stage.fs.share_calls == 0);
    CHECK(stage.share().shared_bytes == expected.shared_bytes);
}

TEST_CASE("progress reaches the size of the archive, and a stop is heeded") {
    const auto archive = canonical(guest_of(9, 12), true);
    Stage stage(SharingFileSystem::kXfs, archive, archive);
    base::CancelFlag cancel;
    std::uint64_t done = 0;
    bool ended = false;
    repack::BlockSharingOptions options;
    options.task.progress = [&](const base::Progress& progress) {
        CHECK(progress.stage == base::Stage::sharing);
        CHECK(progress.done_bytes >= done);
        done = progress.done_bytes;
        ended = progress.ended;
    };
    (void)stage.share(options);
    CHECK(done == archive.size());
    CHECK(ended);
    options.task.cancel = &cancel;
    cancel.request();
    CHECK_THROWS_AS((void)stage.share(options), base::Cancelled);
}

TEST_CASE("checksums of a raw archive that are kept spare reading it") {
    const auto archive = canonical(guest_of(10, 12), false);
    Stage stage(SharingFileSystem::kXfs, archive, archive);
    const access::ChecksumStore store(stage.directory / "regions");
    const base::CancelFlag cancel;
    (void)access::read_raw_checksums(stage.fs, stage.older, &store, cancel);
    (void)access::read_raw_checksums(stage.fs, stage.newer, &store, cancel);
    stage.fs.read_bytes = 0;
    repack::BlockSharingOptions options;
    options.store = &store;
    CHECK(stage.share(options).shared_bytes == archive.size() / kPage * kPage);
    CHECK(stage.fs.read_bytes < archive.size() / 10);
}
