#include "daemon/guest_summaries.hpp"

#include <fcntl.h>

#include <algorithm>
#include <map>
#include <random>
#include <string>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include "queue/spool.hpp"
#include "support/run_outcome.hpp"
#include "support/temporary_directory.hpp"

using namespace vmad;
using api::ArchiveRecord;
using api::GuestSummary;
using api::JobKind;
using api::Verdict;
namespace outcome = support::outcome;

namespace {

constexpr std::int64_t kHour = 3600;
constexpr std::int64_t kNow = 100 * 24 * kHour;

/// What the daemon knows, without a daemon.
struct Known {
    support::TemporaryDirectory state{support::TemporaryDirectory::fast_base()};
    io::FileSystem fs;
    queue::Spool spool{fs, state.path()};
    queue::Queue queue{spool, 0};
    queue::Catalogue catalogue{fs, spool.archives_directory()};

    [[nodiscard]] std::vector<GuestSummary> summaries() const {
        return daemon::guest_summaries(queue, catalogue, kNow);
    }
    void end(const std::string& path, std::uint64_t vmid, support::Outcome ending, std::int64_t at,
             std::uint64_t size, std::optional<std::uint64_t> new_bytes = {}, JobKind kind = JobKind::repack,
             const std::string& storage = "local") {
        const auto id =
            queue.enqueue({.path = path, .storage = storage, .vmid = vmid, .kind = kind}, false, at).job.id;
        queue.start(id, "", at);
        auto result = ending.sized(2 * size, size);
        if (ending.state == api::JobState::failed) result.reason = "why";
        if (new_bytes) result.since = api::NewSince{.archive = "a", .new_bytes = *new_bytes};
        queue.finish(id, result, at);
    }
};

}  // namespace

TEST_CASE("nothing known, nothing summed up") { CHECK(Known().summaries().empty()); }

TEST_CASE("jobs of the last day and week are summed up, and only good repacks") {
    Known known;
    known.end("/d/1", 100, outcome::done, kNow - kHour, 1000, 10);
    known.end("/d/2", 100, outcome::done, kNow - 2 * kHour, 500);
    known.end("/d/3", 100, outcome::in_grace_period, kNow - 3 * kHour, 200, 5);
    known.end("/d/4", 100, outcome::done, kNow - 48 * kHour, 100, 1);
    known.end("/d/5", 100, outcome::done, kNow - 8 * 24 * kHour, 7777, 7777);
    known.end("/d/6", 100, outcome::failed, kNow - kHour, 8888, 8888);
    known.end("/d/7", 100, outcome::unchanged, kNow - kHour / 2, 999);
    known.end("/d/8", 100, outcome::done, kNow - kHour / 4, 6666, 6666, JobKind::verify);
    const auto all = known.summaries();
    REQUIRE(all.size() == 1);
    CHECK(all[0] == GuestSummary{.vmid = 100,
                                 .storage = "local",
                                 .day_backups = 3,
                                 .day_bytes = 1700,
                                 .day_new_bytes = 15,
                                 .week_backups = 4,
                                 .week_bytes = 1800,
                                 .week_new_bytes = 16,
                                 .last_success_at = kNow - kHour,
                                 .last_size = 1000,
                                 .last_new_bytes = 10});
}

TEST_CASE("who names no storage means that of the others in the directory") {
    Known known;
    known.catalogue.put({.path = "/d/a", .storage = "local", .vmid = 100, .size_bytes = 1});
    known.catalogue.put({.path = "/d/b", .vmid = 100, .size_bytes = 2});
    known.catalogue.put({.path = "/e/c", .vmid = 100, .size_bytes = 4});
    known.end("/d/x", 100, outcome::done, kNow - kHour, 1, {}, JobKind::repack, "");
    const auto all = known.summaries();
    REQUIRE(all.size() == 2);
    CHECK(all[0].storage.empty());
    CHECK(all[0].bytes == 4);
    CHECK(all[1].storage == "local");
    CHECK(all[1].bytes == 3);
    CHECK(all[1].day_backups == 1);
}

TEST_CASE("law: what is said of archives is what one by one says") {
    for (unsigned seed = 0; seed < 50; ++seed) {
        CAPTURE(seed);
        std::mt19937 random(seed);
        Known known;
        std::map<std::uint64_t, GuestSummary> expected;
        std::map<std::uint64_t, bool> has_unlooked;
        std::map<std::uint64_t, std::int64_t> newest;
        for (int i = 0; i < 30; ++i) {
            const std::uint64_t vmid = 100 + random() % 3;
            ArchiveRecord record{.path = fmt::format("/d/{}", i), .storage = "local", .vmid = vmid};
            record.size_bytes = random() % 1000;
            record.backup_at = i;
            record.verdict = static_cast<Verdict>(random() % 3);
            if (random() % 2 == 0) record.guest = fmt::format("g{}", i);
            if (random() % 8 != 0) record.verified_at = static_cast<std::int64_t>(random() % 1000);
            if (random() % 2 == 0) record.repacked_at = i;
            if (random() % 2 == 0) record.new_bytes = random() % 1000;
            known.catalogue.put(record);
            auto& guest = expected[vmid];
            guest.vmid = vmid;
            guest.storage = "local";
            ++guest.backups;
            guest.bytes += record.size_bytes;
            if (!record.guest.empty()) guest.guest = record.guest;
            if (record.verdict == Verdict::unverified) ++guest.unverified;
            if (record.verdict == Verdict::damaged) ++guest.damaged;
            if (!record.verified_at) has_unlooked[vmid] = true;
            if (record.verified_at)
                guest.verified_at = std::min(guest.verified_at.value_or(1000), *record.verified_at);
            if (record.repacked_at) {
                guest.last_success_at = record.repacked_at;
                guest.last_size = record.size_bytes;
                guest.last_new_bytes = record.new_bytes;
            }
        }
        for (auto& [vmid, guest] : expected)
            if (has_unlooked[vmid]) guest.verified_at.reset();
        std::vector<GuestSummary> wanted;
        for (const auto& [vmid, guest] : expected) wanted.push_back(guest);
        CHECK(known.summaries() == wanted);
    }
}
