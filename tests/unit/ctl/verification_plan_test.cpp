#include "ctl/operands/verification_plan.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include "support/pretended_mount.hpp"
#include "support/temporary_directory.hpp"

using namespace vmad;
using namespace vmad::ctl;
using support::TemporaryDirectory;

namespace {

constexpr std::int64_t kDay = 86400;
constexpr std::int64_t kNow = 10'000 * kDay;
constexpr std::int64_t kNanoseconds = 1'000'000'000;

FoundArchive archive(std::string path, std::int64_t modified_at = kNow - 50 * kDay) {
    return {std::move(path), 1000, modified_at * kNanoseconds};
}

/// Files in directories, and what the daemon knows of them.
struct Node {
    support::PretendedMount fs;
    TemporaryDirectory directory{};
    std::vector<api::ArchiveRecord> records{};

    std::string path(const std::string& name) const { return directory / name; }
    void make(const std::string& name) {
        std::filesystem::create_directories(std::filesystem::path(path(name)).parent_path());
        std::ofstream(path(name)) << "x";
    }
    void know(const std::string& name, const std::string& mount_point = "/") {
        api::ArchiveRecord record{.path = path(name)};
        record.mount_point = mount_point;
        records.push_back(record);
    }
    ArchiveRecords::Gone gone(
        bool believes_empty = false,
        std::function<bool(const std::string&)> includes = [](auto&) { return true; }) {
        return ArchiveRecords(records).gone(fs, io::MountTable::read(fs), {},
                                            {std::move(includes), believes_empty});
    }
};

api::ArchiveRecord record_of(const FoundArchive& archive) {
    api::ArchiveRecord record;
    record.path = archive.path;
    record.size_bytes = archive.size_bytes;
    record.modified_ns = archive.modified_ns;
    record.mount_point = "/";
    return record;
}

}  // namespace

TEST_CASE("what is not known, or another file by now, counts as read when it was modified") {
    const auto known = archive("/d/a.vma");
    auto record = record_of(known);
    record.storage = "nas";
    struct Row {
        std::optional<std::int64_t> verified_at;
        std::optional<std::int64_t> looked_at;
        std::int64_t read_at;
    };
    constexpr auto kModified = kNow - 50 * kDay;
    for (const auto& row : {Row{{}, {}, kModified},
                            {kNow - 9, {}, kNow - 9},
                            {{}, kNow - 9, kNow - 9},
                            {kNow - 9, kNow - 7, kNow - 7},
                            {kNow - 7, kNow - 9, kNow - 7}}) {
        record.verified_at = row.verified_at;
        record.looked_at = row.looked_at;
        const ArchiveRecords archives({record});
        CHECK(archives.candidate(known, "").read_at == row.read_at);
        CHECK(archives.candidate(known, "").storage == "nas");
        CHECK(archives.candidate(known, "other").storage == "other");
        CHECK(archives.candidate(archive("/d/b.vma"), "").read_at == kModified);
        auto changed = known;
        ++changed.size_bytes;
        CHECK(archives.candidate(changed, "").read_at == kModified);
        CHECK(archives.candidate(archive(known.path, kNow - 2), "").read_at == kNow - 2);
    }
}

TEST_CASE("law: each archive is due at least a day before its time is over, and no earlier than half of it") {
    for (const std::int64_t days : {1, 2, 7, 30, 365}) {
        const auto every = days * kDay;
        CHECK(is_due({{}, "", kNow - every + std::min(kDay, every / 2)}, every, kNow));
        CHECK_FALSE(is_due({{}, "", kNow - every + std::min(kDay, every / 2) + 1}, every, kNow));
        CHECK(is_due({{}, "", 0}, every, kNow));
        CHECK_FALSE(is_due({{}, "", kNow + kDay}, every, kNow));
    }
    CHECK(daily_share(0, 30 * kDay) == 0);
    CHECK(daily_share(1, 30 * kDay) == 1);
    CHECK(daily_share(30, 30 * kDay) == 2);
    CHECK(daily_share(31, 30 * kDay) == 3);
    CHECK(daily_share(10'000, 30 * kDay) == 667);
    CHECK(daily_share(10, kDay) == 20);
}

TEST_CASE("law: by looks of the daily share at what is due, all of 10000 archives are read in their time") {
    // The load is even in the end, even when all of them were never read at first.
    constexpr std::size_t kCount = 10'000;
    constexpr std::int64_t kEveryDays = 30;
    std::vector<VerificationCandidate> archives;
    for (std::size_t i = 0; i < kCount; ++i)
        archives.push_back({archive(fmt::format("/d/{:05}.vma", i)), "", kNow - 500 * kDay});
    for (std::int64_t day = 0; day < 3 * kEveryDays; ++day) {
        const auto now = kNow + day * kDay;
        sort_for_verification(archives);
        std::size_t read = 0;
        for (auto& candidate : archives) {
            if (read == daily_share(kCount, kEveryDays * kDay)) break;
            if (!is_due(candidate, kEveryDays * kDay, now)) continue;
            candidate.read_at = now;
            ++read;
        }
        if (day < kEveryDays / 2) continue;
        const auto oldest = std::min_element(archives.begin(), archives.end(), [](auto& one, auto& other) {
            return one.read_at < other.read_at;
        });
        CHECK(oldest->read_at >= now - kEveryDays * kDay);
    }
}

TEST_CASE("the least recently read come first, each once") {
    std::vector<VerificationCandidate> candidates{{archive("/d/c.vma"), "", 3},
                                                  {archive("/d/b.vma"), "", 1},
                                                  {archive("/d/a.vma"), "", 3},
                                                  {archive("/d/b.vma"), "local", 1},
                                                  {archive("/d/c.vma"), "", 3}};
    sort_for_verification(candidates);
    std::vector<std::string> paths;
    for (const auto& candidate : candidates) paths.push_back(candidate.archive.path);
    CHECK(paths == std::vector<std::string>{"/d/b.vma", "/d/a.vma", "/d/c.vma"});
    CHECK(candidates[0].storage == "local");
}

TEST_CASE("an archive is gone when its directory can be read and lists it no more") {
    Node node;
    node.fs.pretend(node.path(""), "ext4");
    node.make("d/here.vma");
    node.make("file");
    for (const auto* name : {"d/here.vma", "d/gone.vma", "removed/x.vma", "file/x.vma", "d/hidden.vma"})
        node.know(name);
    const auto gone =
        node.gone(false, [&](const std::string& path) { return path != node.path("d/hidden.vma"); });
    CHECK(gone.paths == std::vector<std::string>{node.path("d/gone.vma"), node.path("file/x.vma"),
                                                 node.path("removed/x.vma")});
    CHECK(gone.doubtful.empty());
}

TEST_CASE("nothing is forgotten of a storage that may not be there") {
    struct Row {
        const char* type;         ///< of the mount; "" for none
        const char* mount_point;  ///< where it was; this one is at /
        bool other;               ///< another archive is in the directory
        bool believes_empty;
        std::size_t gone;
        std::size_t doubtful;
    };
    const Row rows[] = {
        {"ext4", "/", false, false, 1, 0},
        {"xfs", "/", true, false, 1, 0},
        // The mount point is there, and empty.
        {"ext4", "/mnt/nas", false, false, 0, 0},
        {"ext4", "/mnt/nas", true, true, 0, 0},
        {"", "/", true, true, 0, 0},
        // The server, or what is behind a FUSE program, may have nothing mounted.
        {"nfs4", "/", false, false, 0, 1},
        {"cifs", "/", false, false, 0, 1},
        {"fuse.mergerfs", "/", false, false, 0, 1},
        {"nfs4", "/", false, true, 1, 0},
        {"nfs4", "/", true, false, 1, 0},
        // It is not known where it was.
        {"ext4", "", false, false, 0, 1},
        {"ext4", "", true, false, 1, 0},
    };
    for (const auto& row : rows) {
        CAPTURE(row.type);
        CAPTURE(row.mount_point);
        CAPTURE(row.other);
        Node node;
        node.fs.pretend(node.path(""), row.type);
        std::filesystem::create_directory(node.path("d"));
        if (row.other) node.make("d/other.vma.zst");
        node.make("d/other.log");
        node.know("d/x.vma", row.mount_point);
        const auto gone = node.gone(row.believes_empty);
        CHECK(gone.paths.size() == row.gone);
        CHECK(gone.doubtful.size() == row.doubtful);
        if (row.doubtful != 0) CHECK(gone.doubtful.at(node.path("d")) == 1);
    }
}

TEST_CASE("nothing is forgotten of a directory that cannot be read") {
    class Unreadable final : public io::FileSystem {
      public:
        std::vector<std::string> entries(const io::File& directory) override {
            throw base::SystemError(EIO, "list", directory.path());
        }
    };
    Node node;
    node.make("d/x.vma");
    node.know("d/gone.vma");
    Unreadable fs;
    const auto gone = ArchiveRecords(node.records)
                          .gone(fs, io::MountTable::read(node.fs), {}, {[](auto&) { return true; }, true});
    CHECK(gone.paths.empty());
}
