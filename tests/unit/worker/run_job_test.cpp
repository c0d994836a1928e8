// How every way that a job can go is told to the daemon.
#include "worker/run_job.hpp"

#include <fcntl.h>

#include <cerrno>
#include <ctime>
#include <filesystem>
#include <functional>

#include <doctest/doctest.h>

#include "publish/archive_target.hpp"
#include "publish/inode_lock.hpp"
#include "publish/recovery_record.hpp"
#include "support/dump.hpp"
#include "support/pretended_mount.hpp"
#include "support/run_outcome.hpp"
#include "support/temporary_directory.hpp"
#include "worker/daemon_link.hpp"

using namespace vmad;
using support::Outcome;
using support::outcome_of;
namespace outcome = support::outcome;

namespace {

struct Stage {
    support::TemporaryDirectory archives{support::TemporaryDirectory::fast_base()};
    support::TemporaryDirectory state{support::TemporaryDirectory::fast_base()};
    support::PretendedMount fs;
    base::CancelFlag cancel;
    api::WorkerOrder order;
    std::string recovery;  ///< what was recorded last
    std::function<void(const api::WorkerRecord&)> keep = [this](const api::WorkerRecord& record) {
        recovery = record.recovery;
    };

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
    CHECK(outcome_of(result) == outcome::done);
    CHECK(result.size_before);
    CHECK(result.size_after);
    CHECK(outcome_of(stage.run()) == outcome::unchanged);
    stage.archives.remove("a.vma");
    CHECK(outcome_of(stage.run()) == outcome::vanished);
}

TEST_CASE("errors of the moment are tried again, others are final, a full disk waits") {
    struct Row {
        int error_number;
        Outcome ending;
    };
    for (const auto& row :
         {Row{EIO, outcome::retry}, Row{ESTALE, outcome::retry}, Row{EROFS, outcome::retry},
          Row{EACCES, outcome::failed}, Row{ENOSPC, outcome::no_space}, Row{EDQUOT, outcome::no_space}}) {
        CAPTURE(row.error_number);
        Stage stage;
        const auto result = stage.run_failing("open_unnamed", row.error_number);
        CHECK(outcome_of(result) == row.ending);
        CHECK(result.reason.find(stage.archives.path()) != result.reason.npos);
        CHECK(stage.archives.names() == std::set<std::string>{"a.vma"});
    }
}

TEST_CASE("a storage that is not mounted any more waits, however its mount point looks") {
    Stage stage;
    stage.order.job.mount_point = stage.archives.path();
    const auto result = stage.run();
    CHECK(outcome_of(result) == outcome::no_storage);
    CHECK(result.reason == "nothing is mounted at " + stage.archives.path());
    stage.order.job.mount_point = "";
    stage.order.job.path = stage.archives / "none/a.vma";
    stage.order.job.queued_at = std::time(nullptr);
    CHECK(outcome_of(stage.run()) == outcome::no_storage);
}

TEST_CASE("a storage that never was is waited for only for a week") {
    constexpr std::int64_t kDay = 24 * 60 * 60;
    Stage stage;
    stage.order.job.path = stage.archives / "none/a.vma";
    for (const std::int64_t days : {0, 6}) {
        stage.order.job.queued_at = std::time(nullptr) - days * kDay;
        CHECK(outcome_of(stage.run()) == outcome::no_storage);
    }
    stage.order.job.queued_at = std::time(nullptr) - 8 * kDay;
    const auto result = stage.run();
    CHECK(outcome_of(result) == outcome::failed);
    CHECK(result.reason == "the directory " + (stage.archives / "none") +
                               " is not there: is its storage mounted? Given up after a week.");
    // One that was mounted when the archive was queued may come back whenever it likes.
    stage.order.job.mount_point = stage.archives / "none";
    CHECK(outcome_of(stage.run()) == outcome::no_storage);
}

TEST_CASE("an archive that another process works on waits") {
    Stage stage;
    const auto file = stage.fs.open(stage.order.job.path, O_RDONLY);
    const auto lock = publish::InodeLock::take(stage.fs, stage.state / "locks",
                                               publish::identity_of(stage.fs.status(file)));
    REQUIRE(lock);
    const auto result = stage.run();
    CHECK(outcome_of(result) == outcome::locked);
    CHECK(result.reason == "another process is working on the archive");
}

TEST_CASE("a young archive that nobody announced waits") {
    Stage stage;
    stage.order.job.announced = false;
    const auto result = stage.run();
    CHECK(outcome_of(result) == outcome::too_recent);
    CHECK(result.retry_after_seconds.value_or(0) > 0);
    CHECK(result.retry_after_seconds.value_or(0) <= publish::kMinimumAgeSeconds);
}

namespace {

/// A job on a network file system in its grace period after its first run.
struct GracePeriodStage : Stage {
    api::WorkerResult first;

    GracePeriodStage() {
        fs.pretend(archives.path(), "nfs4");
        order.grace_period_seconds = 900;
        first = run();
        REQUIRE(outcome_of(first) == outcome::in_grace_period);
        order.job.recovery = recovery;
    }
};

}  // namespace

TEST_CASE("on a network file system the old file is kept, and a later run removes it") {
    GracePeriodStage stage;
    CHECK(stage.first.reason == "canonical; the old file is kept for a while, for restores on other nodes");
    CHECK(stage.first.retry_after_seconds == 900);
    CHECK(stage.archives.names().size() == 2);
    const auto second = stage.run();
    CHECK(outcome_of(second) == outcome::done);
    CHECK(second.size_before == stage.first.size_before);
    CHECK(second.size_after == stage.first.size_after);
    CHECK(stage.archives.names() == std::set<std::string>{"a.vma"});
    // As after a crash before the result was kept.
    CHECK(outcome_of(stage.run()) == outcome::done);
}

TEST_CASE("what became of an archive while its old file was kept") {
    struct Row {
        const char* title;
        std::function<void(const Stage&)> act;
        Outcome ending;
        bool is_there;
    };
    const auto replace = [](const Stage& stage) {
        const auto bytes = testing::dump(testing::plausible_guest({{"drive-scsi1", 1 << 20, {}}}));
        stage.archives.write("new", {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
        std::filesystem::rename(stage.archives / "new", stage.archives / "a.vma");
    };
    const Row rows[] = {
        {"pruned", [](const Stage& stage) { stage.archives.remove("a.vma"); }, outcome::vanished, false},
        {"replaced", replace, outcome::in_grace_period, true},
        {"touched",
         [](const Stage& stage) {
             stage.archives.set_modified("a.vma", {1, 0});
         },
         outcome::unchanged, true},
    };
    for (const auto& row : rows) {
        for (const bool recover_only : {false, true}) {
            CAPTURE(row.title);
            CAPTURE(recover_only);
            GracePeriodStage stage;
            row.act(stage);
            const auto content = row.is_there ? stage.archives.read("a.vma") : "";
            stage.order.recover_only = recover_only;
            stage.order.job.reason = "as it was";
            const auto result = stage.run();
            const bool is_repacked = row.ending == outcome::in_grace_period && !recover_only;
            CHECK(outcome_of(result) == (recover_only && row.is_there ? outcome::failed : row.ending));
            CHECK(stage.archives.has("a.vma") == row.is_there);
            CHECK(stage.archives.names().size() == (is_repacked ? 2 : row.is_there ? 1 : 0));
            if (row.is_there) CHECK((stage.archives.read("a.vma") != content) == is_repacked);
        }
    }
}

TEST_CASE("a kept file that cannot be removed now is removed by a later run") {
    GracePeriodStage stage;
    const auto content = stage.archives.read("a.vma");
    stage.fs.before = [&](const support::Call& call) {
        if (call.operation == "unlink" && call.path.starts_with(".vmad-"))
            support::FaultFileSystem::fail(EIO, call);
    };
    CHECK(outcome_of(stage.run()) == outcome::retry);
    CHECK(stage.archives.names().size() == 2);
    stage.fs.before = nullptr;
    CHECK(outcome_of(stage.run()) == outcome::done);
    CHECK(stage.archives.names() == std::set<std::string>{"a.vma"});
    CHECK(stage.archives.read("a.vma") == content);
}

TEST_CASE("when the daemon is gone before it knows that the old file is kept, the next run removes it") {
    Stage stage;
    stage.fs.pretend(stage.archives.path(), "nfs4");
    stage.order.grace_period_seconds = 900;
    stage.keep = [&](const api::WorkerRecord& record) {
        if (record.recovery.find("\"grace_period\"") != std::string::npos) throw worker::DaemonGone();
        stage.recovery = record.recovery;
    };
    CHECK_THROWS_AS((void)stage.run(), worker::DaemonGone);
    CHECK(stage.archives.names().size() == 2);
    stage.order.job.recovery = stage.recovery;
    CHECK(outcome_of(stage.run()) == outcome::done);
    CHECK(stage.archives.names() == std::set<std::string>{"a.vma"});
}

TEST_CASE("the reserve of the order is left free") {
    Stage stage;
    const auto space = stage.fs.space(stage.fs.open(stage.archives.path(), O_RDONLY | O_DIRECTORY));
    stage.order.reserve_bytes = space.f_bavail * space.f_frsize;
    const auto result = stage.run();
    CHECK(outcome_of(result) == outcome::no_space);
    CHECK(result.reason.find(" kept free") != std::string::npos);
    CHECK(stage.archives.names() == std::set<std::string>{"a.vma"});
    stage.order.reserve_bytes = 0;
    CHECK(outcome_of(stage.run()) == outcome::done);
}

TEST_CASE("a damaged archive and one outside the directories fail for good, with the place") {
    Stage stage;
    stage.archives.append("a.vma", "x");
    const auto damaged = stage.run();
    CHECK(damaged.reason.starts_with("this backup cannot be restored as it is; make another (at byte "));
    CHECK(damaged.reason.ends_with(" bytes follow the last extent)"));
    CHECK(damaged.damaged);
    stage.order.directories = {"/nowhere"};
    CHECK(outcome_of(stage.run()) == outcome::failed);
    CHECK_FALSE(stage.run().damaged);
}

TEST_CASE("a wish to stop is no failure") {
    Stage stage;
    stage.cancel.request();
    CHECK(outcome_of(stage.run()) == outcome::stopped);
    CHECK(stage.archives.names() == std::set<std::string>{"a.vma"});
}

TEST_CASE("when the daemon is gone before the swap, nothing is swapped") {
    Stage stage;
    const auto before = stage.archives.read("a.vma");
    stage.keep = [](const api::WorkerRecord&) { throw worker::DaemonGone(); };
    CHECK_THROWS_AS((void)stage.run(), worker::DaemonGone);
    CHECK(stage.archives.read("a.vma") == before);
    CHECK(stage.archives.names() == std::set<std::string>{"a.vma"});
}

TEST_CASE("a run first recovers from an interrupted one, wherever that stopped") {
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
        stage.order.job.recovery = stage.recovery;
        const auto ending = outcome_of(stage.run());
        CHECK((ending == outcome::done || ending == outcome::unchanged));
        CHECK(stage.archives.names() == std::set<std::string>{"a.vma"});
    }
}

TEST_CASE("a verdict names the version of the file that it is about, and only when the file is at fault") {
    struct Row {
        const char* what;
        std::function<void(Stage&)> make;
        bool is_verdict;
    };
    for (const auto& row :
         {Row{"damaged", [](Stage& s) { s.archives.append("a.vma", "x"); }, true},
          Row{"no archive", [](Stage& s) { s.archives.write("a.vma", "PK\3\4"); }, true},
          Row{"hard links",
              [](Stage& s) { std::filesystem::create_hard_link(s.archives / "a.vma", s.archives / "b"); },
              true},
          Row{"outside", [](Stage& s) { s.order.directories = {"/nowhere"}; }, false},
          Row{"not readable",
              [](Stage& s) {
                  s.fs.before = [](const support::Call& call) {
                      if (call.operation == "read_at") support::FaultFileSystem::fail(EACCES, call);
                  };
              },
              false}}) {
        CAPTURE(row.what);
        Stage stage;
        row.make(stage);
        const auto result = stage.run();
        CHECK(outcome_of(result) == outcome::failed);
        io::FileSystem fs;
        const auto file = fs.open(stage.archives / "a.vma", O_RDONLY);
        const auto version = publish::file_version(publish::identity_of(fs.status(file)));
        CHECK(result.refused_file == (row.is_verdict ? version : ""));
        // Any change makes another version of it.
        fs.change_mode(file, 0400);
        CHECK(publish::file_version(publish::identity_of(fs.status(file))) != version);
    }
}

TEST_CASE("failed archives that are gone are named, but not by a look at another directory") {
    Stage stage;
    stage.archives.write("there.vma", "");
    const auto gone = stage.archives / "gone.vma";
    stage.order.known_beside = {stage.archives / "there.vma", gone};
    CHECK(stage.run().gone == std::vector<std::string>{gone});
    // Unmounted, all is missing.
    stage.archives.remove("a.vma");
    CHECK(stage.run().gone.empty());
}

TEST_CASE(
    "law: after a write that was refused room, the next one waits for what was missing, or for its time") {
    Stage stage;
    std::uint64_t free_bytes = 1 << 30;
    unsigned writes = 0;
    const auto size = std::filesystem::file_size(stage.archives / "a.vma");
    stage.fs.shown_free_bytes = [&] { return free_bytes; };
    stage.order.reserve_bytes = 0;
    stage.fs.before = [&](const support::Call& call) {
        if (call.operation == "write_at" && call.path.find("vmad-test") != call.path.npos && ++writes == 2)
            support::FaultFileSystem::fail(EDQUOT, call);
    };
    const auto first = stage.run();
    CHECK(outcome_of(first) == outcome::no_space);
    REQUIRE(first.space_refusal);
    CHECK(first.space_refusal->directory == stage.archives.path());
    CHECK(first.space_refusal->written_bytes > 0);
    CHECK(first.reason.find("cannot be used") != first.reason.npos);
    CHECK(stage.archives.names() == std::set<std::string>{"a.vma"});

    stage.fs.before = [&](const support::Call& call) {
        if (call.operation == "write_at" && call.path.find("vmad-test") != call.path.npos) ++writes;
    };
    stage.order.job.space_refusal = first.space_refusal;
    stage.order.job.space_refusal->try_again_at = std::time(nullptr) + 3600;
    writes = 0;
    for (const std::uint64_t more : {std::uint64_t{0}, size / 100}) {
        free_bytes = *first.space_refusal->free_bytes + more;
        const auto look = stage.run();
        CHECK(outcome_of(look) == outcome::no_space);
        CHECK_FALSE(look.space_refusal);
        CHECK(look.reason.find("cannot be used") != look.reason.npos);
        CHECK(writes == 0);
    }
    SUBCASE("enough has become free") { free_bytes += size; }
    SUBCASE("it is time") { stage.order.job.space_refusal->try_again_at = std::time(nullptr); }
    SUBCASE("this archive is smaller than what could be written") {
        stage.order.job.space_refusal->written_bytes = size + 1;
    }
    CHECK(outcome_of(stage.run()) == outcome::done);
}

TEST_CASE("a write that takes nothing is an error, and no endless loop") {
    Stage stage;
    stage.fs.writes_nothing = true;
    const auto result = stage.run();
    CHECK(outcome_of(result) == outcome::retry);
    CHECK(result.reason.find("0 bytes") != result.reason.npos);
    CHECK(stage.archives.names() == std::set<std::string>{"a.vma"});
}
