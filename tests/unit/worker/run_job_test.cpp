// How every way that a job can go is told to the daemon.
#include "worker/run_job.hpp"

#include <cerrno>

#include <doctest/doctest.h>

#include "publish/archive_target.hpp"
#include "publish/recovery_record.hpp"
#include "support/dump.hpp"
#include "support/pretended_mount.hpp"
#include "support/temporary_directory.hpp"
#include "worker/daemon_link.hpp"

using namespace vmad;
using api::WorkerOutcome;

namespace {

struct Stage {
    support::TemporaryDirectory archives{support::TemporaryDirectory::fast_base()};
    support::TemporaryDirectory state{support::TemporaryDirectory::fast_base()};
    support::PretendedMount fs;
    base::CancelFlag cancel;
    api::WorkerOrder order;
    nlohmann::json record;
    std::function<void(const nlohmann::json&)> keep = [this](const nlohmann::json& json) { record = json; };

    Stage() {
        const auto bytes = testing::dump(testing::plausible_guest({{"drive-scsi0", 1 << 20, {}}}));
        archives.write("a.vma", {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
        order.job.id = 1;
        order.job.path = archives / "a.vma";
        order.job.announced = true;
        order.state_dir = state.path();
    }
    api::WorkerResult run() {
        return worker::run_job(fs, order, cancel, {keep, [](const api::JobProgress&) {}});
    }
    /// The result when the first call of `operation` on the archive's copy or directory fails.
    api::WorkerResult run_failing(const std::string& operation, int error_number) {
        bool done = false;
        fs.before = [&](const support::Call& call) {
            if (done || call.operation != operation || call.path.find("vmad-test") == call.path.npos) return;
            done = true;
            support::FaultFileSystem::fail(error_number, call);
        };
        return run();
    }
};

}  // namespace

TEST_CASE("done, then unchanged, then vanished") {
    Stage stage;
    auto result = stage.run();
    CHECK(result.outcome == WorkerOutcome::done);
    CHECK(result.size_before);
    CHECK(result.size_after);
    CHECK(stage.run().outcome == WorkerOutcome::unchanged);
    stage.archives.remove("a.vma");
    CHECK(stage.run().outcome == WorkerOutcome::vanished);
}

TEST_CASE("errors of the moment are tried again, others are final, a full disk waits") {
    struct Row {
        int error_number;
        WorkerOutcome outcome;
    };
    for (const auto& row : {Row{EIO, WorkerOutcome::transient}, Row{ESTALE, WorkerOutcome::transient},
                            Row{EROFS, WorkerOutcome::transient}, Row{EACCES, WorkerOutcome::failed},
                            Row{ENOSPC, WorkerOutcome::no_space}, Row{EDQUOT, WorkerOutcome::no_space}}) {
        CAPTURE(row.error_number);
        Stage stage;
        const auto result = stage.run_failing("open_unnamed", row.error_number);
        CHECK(result.outcome == row.outcome);
        CHECK(result.reason.find(stage.archives.path()) != result.reason.npos);
        CHECK(stage.archives.names() == std::set<std::string>{"a.vma"});
    }
}

TEST_CASE("a storage that is not mounted any more waits, however its mount point looks") {
    Stage stage;
    stage.order.job.mount_point = stage.archives.path();
    const auto result = stage.run();
    CHECK(result.outcome == WorkerOutcome::no_storage);
    CHECK(result.reason == "nothing is mounted at " + stage.archives.path());
    stage.order.job.mount_point = "";
    stage.order.job.path = stage.archives / "none/a.vma";
    CHECK(stage.run().outcome == WorkerOutcome::no_storage);
}

TEST_CASE("a young archive that nobody announced waits") {
    Stage stage;
    stage.order.job.announced = false;
    const auto result = stage.run();
    CHECK(result.outcome == WorkerOutcome::busy);
    CHECK(result.retry_after_seconds.value_or(0) > 0);
    CHECK(result.retry_after_seconds.value_or(0) <= publish::kMinimumAgeSeconds);
}

namespace {

/// A job on a network file system whose first run ended as `lingering`.
struct LingeringStage : Stage {
    api::WorkerResult first;

    LingeringStage() {
        fs.pretend(archives.path(), "nfs4");
        order.linger_seconds = 900;
        first = run();
        REQUIRE(first.outcome == WorkerOutcome::lingering);
        order.job.publication = record;
    }
};

}  // namespace

TEST_CASE("on a network file system the old file is kept, and a later run removes it") {
    LingeringStage stage;
    CHECK(stage.first.reason ==
          "canonical; the old file is kept for a while, for restores that run on other nodes");
    CHECK(stage.first.retry_after_seconds == 900);
    CHECK(stage.archives.names().size() == 2);
    const auto second = stage.run();
    CHECK(second.outcome == WorkerOutcome::done);
    CHECK(second.size_before == stage.first.size_before);
    CHECK(second.size_after == stage.first.size_after);
    CHECK(stage.archives.names() == std::set<std::string>{"a.vma"});
    // As after a crash before the result was kept.
    CHECK(stage.run().outcome == WorkerOutcome::done);
}

TEST_CASE("what became of an archive while its old file was kept") {
    struct Row {
        const char* title;
        std::function<void(const Stage&)> act;
        WorkerOutcome outcome;
        bool is_there;
    };
    const auto replace = [](const Stage& stage) {
        const auto bytes = testing::dump(testing::plausible_guest({{"drive-scsi1", 1 << 20, {}}}));
        stage.archives.write("new", {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
        std::filesystem::rename(stage.archives / "new", stage.archives / "a.vma");
    };
    const Row rows[] = {
        {"pruned", [](const Stage& stage) { stage.archives.remove("a.vma"); }, WorkerOutcome::vanished,
         false},
        {"replaced", replace, WorkerOutcome::lingering, true},
        {"touched",
         [](const Stage& stage) {
             stage.archives.set_modified("a.vma", {1, 0});
         },
         WorkerOutcome::unchanged, true},
    };
    for (const auto& row : rows) {
        for (const bool settle_only : {false, true}) {
            CAPTURE(row.title);
            CAPTURE(settle_only);
            LingeringStage stage;
            row.act(stage);
            const auto content = row.is_there ? stage.archives.read("a.vma") : "";
            stage.order.settle_only = settle_only;
            stage.order.job.reason = "as it was";
            const auto result = stage.run();
            const bool is_repacked = row.outcome == WorkerOutcome::lingering && !settle_only;
            CHECK(result.outcome == (settle_only && row.is_there ? WorkerOutcome::failed : row.outcome));
            CHECK(stage.archives.has("a.vma") == row.is_there);
            CHECK(stage.archives.names().size() == (is_repacked ? 2 : row.is_there ? 1 : 0));
            if (row.is_there) CHECK((stage.archives.read("a.vma") != content) == is_repacked);
        }
    }
}

TEST_CASE("a kept file that cannot be removed now is removed by a later run") {
    LingeringStage stage;
    const auto content = stage.archives.read("a.vma");
    stage.fs.before = [&](const support::Call& call) {
        if (call.operation == "unlink" && call.path.starts_with(".vmad-"))
            support::FaultFileSystem::fail(EIO, call);
    };
    CHECK(stage.run().outcome == WorkerOutcome::transient);
    CHECK(stage.archives.names().size() == 2);
    stage.fs.before = nullptr;
    CHECK(stage.run().outcome == WorkerOutcome::done);
    CHECK(stage.archives.names() == std::set<std::string>{"a.vma"});
    CHECK(stage.archives.read("a.vma") == content);
}

TEST_CASE("when the daemon is gone before it knows that the old file is kept, the next run removes it") {
    Stage stage;
    stage.fs.pretend(stage.archives.path(), "nfs4");
    stage.order.linger_seconds = 900;
    stage.keep = [&](const nlohmann::json& json) {
        if (json.at("phase") == "grace_period") throw worker::DaemonGone();
        stage.record = json;
    };
    CHECK_THROWS_AS((void)stage.run(), worker::DaemonGone);
    CHECK(stage.archives.names().size() == 2);
    stage.order.job.publication = stage.record;
    CHECK(stage.run().outcome == WorkerOutcome::done);
    CHECK(stage.archives.names() == std::set<std::string>{"a.vma"});
}

TEST_CASE("the reserve of the order is left free") {
    Stage stage;
    const auto space = stage.fs.space(stage.fs.open(stage.archives.path(), O_RDONLY | O_DIRECTORY));
    stage.order.reserve_bytes = space.f_bavail * space.f_frsize;
    const auto result = stage.run();
    CHECK(result.outcome == WorkerOutcome::no_space);
    CHECK(result.reason.find(" kept free") != std::string::npos);
    CHECK(stage.archives.names() == std::set<std::string>{"a.vma"});
    stage.order.reserve_bytes = 0;
    CHECK(stage.run().outcome == WorkerOutcome::done);
}

TEST_CASE("a damaged archive and one outside the directories fail for good, with the place") {
    Stage stage;
    stage.archives.append("a.vma", "x");
    CHECK(stage.run().reason.find(" bytes follow the last extent") != std::string::npos);
    stage.order.directories = {"/nowhere"};
    CHECK(stage.run().outcome == WorkerOutcome::failed);
}

TEST_CASE("a wish to stop is no failure") {
    Stage stage;
    stage.cancel.request();
    CHECK(stage.run().outcome == WorkerOutcome::cancelled);
    CHECK(stage.archives.names() == std::set<std::string>{"a.vma"});
}

TEST_CASE("when the daemon is gone before the swap, nothing is swapped") {
    Stage stage;
    const auto before = stage.archives.read("a.vma");
    stage.keep = [](const nlohmann::json&) { throw worker::DaemonGone(); };
    CHECK_THROWS_AS((void)stage.run(), worker::DaemonGone);
    CHECK(stage.archives.read("a.vma") == before);
    CHECK(stage.archives.names() == std::set<std::string>{"a.vma"});
}

TEST_CASE("an interrupted run is settled first, wherever it stopped") {
    for (const char* operation : {"link_unnamed", "exchange", "unlink"}) {
        CAPTURE(operation);
        Stage stage;
        struct Killed {};
        stage.fs.after = [&](const support::Call& call) {
            if (call.operation == operation && call.path.find(".json") == call.path.npos) throw Killed();
        };
        try {
            (void)stage.run();
        } catch (const Killed&) {
        }
        stage.fs.after = nullptr;
        stage.order.job.publication = stage.record;
        const auto outcome = stage.run().outcome;
        CHECK((outcome == WorkerOutcome::done || outcome == WorkerOutcome::unchanged));
        CHECK(stage.archives.names() == std::set<std::string>{"a.vma"});
    }
}
