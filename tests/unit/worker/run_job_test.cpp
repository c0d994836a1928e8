// How every way that a job can go is told to the daemon.
#include "worker/run_job.hpp"

#include <cerrno>

#include <doctest/doctest.h>

#include "io/publication.hpp"
#include "support/dump.hpp"
#include "support/fault_file_system.hpp"
#include "support/temporary_directory.hpp"
#include "worker/daemon_link.hpp"

using namespace vmad;
using api::WorkerOutcome;

namespace {

struct Stage {
    support::TemporaryDirectory archives{support::TemporaryDirectory::fast_base()};
    support::TemporaryDirectory state{support::TemporaryDirectory::fast_base()};
    support::FaultFileSystem fs;
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
    CHECK(stage.run().outcome == WorkerOutcome::busy);
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
