// What a job shares with the backup before, and that nothing about that can spoil the job.
#include "worker/shared_blocks.hpp"

#include <doctest/doctest.h>

#include "publish/inode_lock.hpp"
#include "support/dump.hpp"
#include "support/run_outcome.hpp"
#include "support/sharing_file_system.hpp"
#include "support/temporary_directory.hpp"
#include "worker/run_job.hpp"

using namespace vmad;
using support::outcome_of;
namespace outcome = support::outcome;

namespace {

std::string name_of(int day) { return "vzdump-qemu-100-2026_02_0" + std::to_string(day) + "-01_00_00.vma"; }

std::string dump_of(int day) {
    auto guest = testing::plausible_guest({{"drive-scsi0", 4 << 20, {.zero_fraction = 0}}});
    testing::change_blocks(guest, static_cast<std::uint64_t>(day - 1), 5);
    testing::DumpOptions options;
    options.seed = static_cast<std::uint64_t>(day);
    const auto bytes = testing::dump(guest, options);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// A directory with backups of a guest that are not repacked yet.
struct Stage {
    support::TemporaryDirectory archives{support::TemporaryDirectory::fast_base()};
    support::TemporaryDirectory state{support::TemporaryDirectory::fast_base()};
    support::SharingFileSystem fs;
    base::CancelFlag cancel;
    std::vector<std::string> log;
    bool share_blocks = true;
    bool last_attempt = false;

    Stage() {
        for (const int day : {1, 2, 3}) archives.write(name_of(day), dump_of(day));
    }
    api::WorkerResult run(int day) {
        api::WorkerOrder order;
        order.job.id = 1;
        order.job.path = archives / name_of(day);
        order.job.announced = true;
        order.state_dir = state.path();
        order.share_blocks = share_blocks;
        order.last_attempt = last_attempt;
        worker::JobReports reports;
        reports.record = [](const api::WorkerRecord&) {};
        reports.progress = [](const api::JobProgress&) {};
        reports.log = [this](const std::string& line) { log.push_back(line); };
        return worker::run_job(fs, order, cancel, reports);
    }
};

}  // namespace

TEST_CASE("a job shares with the newest earlier backup that is canonical") {
    Stage stage;
    CHECK_FALSE(stage.run(1).shared_bytes);
    const auto third = stage.run(3);  // the second is not canonical yet
    CHECK(outcome_of(third) == outcome::done);
    REQUIRE(third.shared_bytes);
    CHECK(*third.shared_bytes > *third.size_after / 2);
    CHECK(stage.log.back().ends_with("are in blocks shared with " + name_of(1)));
    (void)stage.run(2);
    CHECK(stage.log.back().ends_with("are in blocks shared with " + name_of(1)));
}

TEST_CASE(
    "where one more death of the worker would fail the job, nothing is risked for an archive that is done") {
    Stage stage;
    (void)stage.run(1);
    stage.last_attempt = true;
    const auto second = stage.run(2);
    CHECK(outcome_of(second) == outcome::done);
    CHECK_FALSE(second.since);
    CHECK_FALSE(second.shared_bytes);
}

TEST_CASE("nothing is shared where the file system cannot, nor when it is switched off") {
    Stage elsewhere;
    elsewhere.fs.kind = EXT4_SUPER_MAGIC;
    (void)elsewhere.run(1);
    CHECK_FALSE(elsewhere.run(2).shared_bytes);
    Stage refused;
    refused.fs.refusal = EOPNOTSUPP;
    (void)refused.run(1);
    CHECK_FALSE(refused.run(2).shared_bytes);
    Stage off;
    off.share_blocks = false;
    (void)off.run(1);
    CHECK_FALSE(off.run(2).shared_bytes);
    CHECK(off.fs.share_calls == 0);
}

TEST_CASE("law: whatever fails while blocks are shared, the job is done") {
    for (const int error : {EIO, ENOSPC, EROFS, ENOENT}) {
        Stage undisturbed;
        (void)undisturbed.run(1);
        (void)undisturbed.run(2);
        const auto expected = undisturbed.archives.read(name_of(2));
        for (const auto* operation : {"share_range", "extents", "type", "advise"}) {
            CAPTURE(error);
            CAPTURE(operation);
            Stage stage;
            (void)stage.run(1);
            bool sharing = false;
            stage.fs.before = [&](const support::Call& call) {
                // The first look at extents tells that the archive is published.
                sharing = sharing || call.operation == "extents";
                if (sharing && call.operation == operation) support::SharingFileSystem::fail(error, call);
            };
            CHECK(outcome_of(stage.run(2)) == outcome::done);
            CHECK(stage.archives.read(name_of(2)) == expected);
            CHECK(stage.archives.names() == std::set<std::string>{name_of(1), name_of(2), name_of(3)});
        }
    }
}

TEST_CASE("a stop while blocks are shared leaves a job that is done") {
    Stage stage;
    (void)stage.run(1);
    stage.fs.before = [&](const support::Call& call) {
        if (call.operation == "extents") stage.cancel.request();
    };
    const auto result = stage.run(2);
    CHECK(outcome_of(result) == outcome::done);
    CHECK_FALSE(result.shared_bytes);
}

TEST_CASE("an archive that another process works on is left alone") {
    Stage stage;
    (void)stage.run(1);
    stage.share_blocks = false;
    (void)stage.run(2);
    const auto file = stage.fs.open(stage.archives / name_of(2), 0);
    const auto lock = publish::InodeLock::take(stage.fs, stage.state / "locks",
                                               publish::identity_of(stage.fs.status(file)));
    const access::ChecksumStore store(stage.state / "regions");
    const worker::SharedBlocksOptions options{.directories = {},
                                              .lock_directory = stage.state / "locks",
                                              .store = store,
                                              .reserve_bytes = {},
                                              .task = {}};
    CHECK_FALSE(worker::share_with_backup_before(stage.fs, stage.archives / name_of(2), options));
    CHECK(stage.fs.share_calls == 0);
}
