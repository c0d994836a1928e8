#include "queue/catalogue.hpp"

#include <fcntl.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/text.hpp"
#include "state_directory.hpp"

using namespace vmad;
using namespace vmad::queue;
using namespace vmad::queue::test;
using api::ArchiveRecord;
using api::Verdict;
using support::FaultFileSystem;

namespace {

using Records = std::map<std::string, ArchiveRecord>;

Records records_of(const Catalogue& catalogue) {
    Records records;
    for (const auto& [record, number] : catalogue.entries()) records.emplace(record.path, record);
    return records;
}

/// A catalogue in a directory of its own.
struct Shelf {
    StateDirectory state;
    FaultFileSystem fs;
    io::File directory = fs.open(state.path(), O_RDONLY | O_DIRECTORY);
    std::unique_ptr<Catalogue> catalogue = std::make_unique<Catalogue>(fs, directory);

    void restart() { catalogue = std::make_unique<Catalogue>(fs, directory); }
    void put(const std::string& path, std::optional<std::uint64_t> vmid = 100, std::int64_t backup_at = 0) {
        catalogue->put({.path = path, .vmid = vmid, .backup_at = backup_at});
    }
};

ArchiveRecord random_record(std::mt19937& random, const std::string& path) {
    ArchiveRecord record{.path = path};
    record.vmid = random() % 3;
    record.guest = random() % 2 == 0 ? "web\xff" : "";
    record.backup_at = static_cast<std::int64_t>(random() % 1000);
    record.size_bytes = random();
    record.verdict = static_cast<Verdict>(random() % 3);
    if (random() % 2 == 0) record.verified_at = static_cast<std::int64_t>(random() % 1000);
    return record;
}

}  // namespace

TEST_CASE("law: on any history the catalogue is what was put and not forgotten, also after a restart") {
    for (unsigned seed = 0; seed < 30; ++seed) {
        CAPTURE(seed);
        std::mt19937 random(seed);
        Shelf shelf;
        Records expected;
        for (int step = 0; step < 100; ++step) {
            const auto path = fmt::format("/d{}/a{}", random() % 3, random() % 8);
            switch (random() % 6) {
                case 0:
                    CHECK(shelf.catalogue->forget(path) == (expected.erase(path) != 0));
                    break;
                case 1:
                    shelf.restart();
                    break;
                default: {
                    auto record = random_record(random, path);
                    record.guest = base::printable(record.guest);
                    shelf.catalogue->put(record);
                    expected[path] = record;
                }
            }
            REQUIRE(records_of(*shelf.catalogue) == expected);
            const auto* found = shelf.catalogue->find(path);
            REQUIRE((found != nullptr) == expected.contains(path));
        }
        shelf.restart();
        CHECK(records_of(*shelf.catalogue) == expected);
        CHECK(names_in(shelf.state.path()).size() == expected.size());
    }
}

TEST_CASE("law: whichever call fails, what is known is as it was, in memory and on disk") {
    for (unsigned n = 1;; ++n) {
        CAPTURE(n);
        Shelf shelf;
        shelf.put("/d/a");
        shelf.put("/d/b");
        const auto before = records_of(*shelf.catalogue);
        const std::vector<std::function<void()>> changes{
            [&] { shelf.put("/d/a", 101); },
            [&] { shelf.put("/d/c"); },
            [&] { (void)shelf.catalogue->forget("/d/b"); },
        };
        fail_call(shelf.fs, n);
        bool failed = false;
        for (const auto& change : changes) {
            const auto known = records_of(*shelf.catalogue);
            try {
                change();
            } catch (const base::SystemError&) {
                failed = true;
                CHECK(records_of(*shelf.catalogue) == known);
                Catalogue fresh(shelf.fs, shelf.directory);
                CHECK(records_of(fresh) == known);
                change();
            }
        }
        shelf.fs.before = {};
        shelf.restart();
        CHECK(records_of(*shelf.catalogue).size() == 2);
        CHECK(shelf.catalogue->find("/d/a")->vmid == 101);
        if (!failed) break;
    }
}

TEST_CASE("a file that is no record is set aside and reported, and holds nothing up") {
    const std::string good = nlohmann::json(ArchiveRecord{.path = "/d/a"}).dump();
    const struct {
        const char* name;
        std::string content;
        const char* reason;
    } table[] = {
        {"2.json", "", "[json.exception.parse_error.101]"},
        {"2.json", "{}", "archive: path is missing"},
        {"2.json", R"({"path":"a","backup_at":0,"size_bytes":0,"modified_ns":0,"verdict":"good"})",
         "archive: path is not absolute"},
        {"2.json", R"({"path":"/b","backup_at":0,"size_bytes":0,"modified_ns":0,"verdict":"fine"})",
         "archive: verdict 'fine' is unknown"},
        {"2.json", R"({"path":"/b","backup_at":0,"size_bytes":-1,"modified_ns":0,"verdict":"good"})",
         "archive: size_bytes is out of range"},
        {"2.json", good, "there is another record of /d/a"},
        {"2.json", std::string((1 << 18) + 1, ' '), "is larger than 262144 bytes"},
        {"0.json", good, "not the name of a record"},
        {"02.json", good, "not the name of a record"},
        {"2.json~", good, "not the name of a record"},
        {"99999999999999999999.json", good, "not the name of a record"},
    };
    for (const auto& row : table) {
        CAPTURE(row.content.substr(0, 200));
        CAPTURE(std::string(row.name));
        Shelf shelf;
        shelf.put("/d/a");
        shelf.state.write(row.name, row.content);
        shelf.state.write(".vmad-0123456789abcdef.tmp", "half");
        shelf.restart();
        REQUIRE(shelf.catalogue->bad_files().size() == 1);
        // Which of two of a path is read first is the directory's business.
        if (row.content != good || std::string(row.name) != "2.json")
            CHECK(shelf.catalogue->bad_files()[0].name == row.name);
        const auto& reason = shelf.catalogue->bad_files()[0].reason;
        CHECK_MESSAGE(reason.find(row.reason) != reason.npos, reason);
        CHECK(records_of(*shelf.catalogue).size() == 1);
        CHECK(names_in(shelf.state.path()).size() == 2);
        shelf.restart();
        CHECK(shelf.catalogue->bad_files().empty());
        shelf.put("/d/new");
        shelf.restart();
        CHECK(records_of(*shelf.catalogue).size() == 2);
    }
}

TEST_CASE("law: beside an archive are those of its guest in its directory, the newest first") {
    for (unsigned seed = 0; seed < 50; ++seed) {
        CAPTURE(seed);
        std::mt19937 random(seed);
        Shelf shelf;
        for (int i = 0; i < 20; ++i)
            shelf.put(fmt::format("/d{}/{}a{}", random() % 2, random() % 3 == 0 ? "sub/" : "", random() % 9),
                      random() % 4 == 0 ? std::nullopt : std::optional<std::uint64_t>(random() % 2),
                      static_cast<std::int64_t>(random() % 10));
        const auto found = shelf.catalogue->beside("/d0/a3", 1, 100);
        std::set<std::string> expected;
        for (const auto& [path, record] : records_of(*shelf.catalogue))
            if (path.starts_with("/d0/a") && path != "/d0/a3" && record.vmid == 1) expected.insert(path);
        CHECK(std::set<std::string>(found.begin(), found.end()) == expected);
        CHECK(std::is_sorted(found.rbegin(), found.rend(), [&](const auto& a, const auto& b) {
            return shelf.catalogue->find(a)->backup_at < shelf.catalogue->find(b)->backup_at;
        }));
        const auto some = shelf.catalogue->beside("/d0/a3", 1, 2);
        CHECK(some ==
              std::vector<std::string>(found.begin(), found.begin() + std::min<long>(2, std::ssize(found))));
        CHECK(shelf.catalogue->beside("/d0/a3", std::nullopt, 100).empty());
    }
}

TEST_CASE("no more archives are known than the limit, and the oldest backup goes first") {
    StateDirectory state;
    FaultFileSystem fs;
    const auto directory = fs.open(state.path(), O_RDONLY | O_DIRECTORY);
    Catalogue catalogue(fs, directory, 3);
    for (const auto& [path, time] :
         {std::pair("/b", 5), std::pair("/a", 3), std::pair("/c", 4), std::pair("/d", 9)})
        catalogue.put({.path = path, .backup_at = time});
    CHECK(catalogue.entries().size() == 3);
    CHECK_FALSE(catalogue.find("/a"));
    CHECK(names_in(state.path()).size() == 3);
}

TEST_CASE("counts of the catalogue, and the archive of which the last good look is longest ago") {
    Shelf shelf;
    CHECK(shelf.catalogue->counts({}, 0) == api::ArchiveCounts{});
    shelf.catalogue->put({.path = "/a", .verified_at = 50, .verdict = Verdict::good});
    shelf.catalogue->put({.path = "/b", .verified_at = 20, .verdict = Verdict::damaged});
    CHECK(shelf.catalogue->counts({}, 0) == api::ArchiveCounts{2, 0, 1, 1, 0, 20});
    shelf.catalogue->acknowledge("/a");
    shelf.catalogue->acknowledge("/none");
    CHECK(shelf.catalogue->counts({}, 0).unacknowledged == 1);
    shelf.catalogue->acknowledge("/b");
    CHECK(shelf.catalogue->find("/b")->acknowledged);
    CHECK_FALSE(shelf.catalogue->find("/a")->acknowledged);
    shelf.catalogue->put({.path = "/c"});
    CHECK(shelf.catalogue->counts({}, 0) == api::ArchiveCounts{3, 1, 1, 0, 0, std::nullopt});
    CHECK(shelf.catalogue->counts(100, 170) == api::ArchiveCounts{3, 1, 1, 0, 1, std::nullopt});
    CHECK(shelf.catalogue->counts(100, 170, {"/"}).overdue == 1);
    CHECK(shelf.catalogue->counts(100, 170, {"/d", "/a"}).overdue == 0);
}

TEST_CASE("what is known after a run: what the worker saw, filled from the job and from what was known") {
    api::Job job;
    job.path = "/d/a";
    job.vmid = 100;
    job.storage = "local";
    job.guest = "web";
    job.mount_point = "/d";
    api::WorkerResult result;
    CHECK_FALSE(record_after(nullptr, job, result));
    result.record = ArchiveRecord{.path = "/d/other"};
    CHECK_FALSE(record_after(nullptr, job, result));
    result.record =
        ArchiveRecord{.path = "/d/a", .size_bytes = 5, .modified_ns = 7, .verdict = Verdict::damaged};
    const auto fresh = record_after(nullptr, job, result);
    REQUIRE(fresh);
    CHECK(fresh->vmid == 100);
    CHECK(fresh->storage == "local");
    CHECK(fresh->guest == "web");
    CHECK(fresh->mount_point == "/d");
    CHECK_FALSE(fresh->verified_at);
    // Somebody who names no storage takes none back, and the same file was verified when it was.
    const ArchiveRecord known{.path = "/d/a",
                              .storage = "nas",
                              .size_bytes = 5,
                              .modified_ns = 7,
                              .digest = "d",
                              .new_bytes = 3,
                              .verified_at = 9,
                              .verdict = Verdict::good};
    job.storage.clear();
    const auto same = record_after(&known, job, result);
    CHECK(same->storage == "nas");
    CHECK(same->digest == "d");
    CHECK(same->new_bytes == 3);
    CHECK(same->verified_at == 9);
    CHECK(same->verdict == Verdict::damaged);
    // Another file of the name has nothing of it.
    result.record->modified_ns = 8;
    const auto other = record_after(&known, job, result);
    CHECK(other->storage == "nas");
    CHECK(other->digest.empty());
    CHECK_FALSE(other->verified_at);
    // An archive may claim anything of itself, and is known all the same.
    auto boastful = result;
    boastful.record->guest = boastful.record->fault = std::string(100'000, '\x01');
    boastful.record->device_digests[std::string(60'000, 'd')] = "d";
    const auto bounded = record_after(nullptr, job, boastful);
    REQUIRE(bounded);
    CHECK(nlohmann::json(*bounded).dump().size() < 50'000);
    CHECK(bounded->device_digests.empty());
    result.since = api::NewSince{.archive = "b", .new_bytes = 11};
    CHECK(record_after(&known, job, result)->new_bytes == 11);
}
