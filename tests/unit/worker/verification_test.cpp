// What a verify job says of an archive, and what it leaves for the catalogue.
#include "worker/verification.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <ctime>

#include <doctest/doctest.h>

#include "publish/inode_lock.hpp"
#include "support/dump.hpp"
#include "support/pretended_mount.hpp"
#include "support/run_outcome.hpp"
#include "support/temporary_directory.hpp"
#include "worker/run_job.hpp"

using namespace vmad;
using support::outcome_of;
namespace outcome = support::outcome;

namespace {

/// A file system that has no extended attributes, or this one for every file.
class OneAttribute : public support::PretendedMount {
  public:
    std::optional<std::string> value;
    std::string was_set;
    void set_attribute(const io::File&, const std::string& name, const std::string& set) override {
        if (name == "user.vmad") was_set = set;
    }
    std::optional<std::string> attribute(const io::File&, const std::string&) override { return value; }
};

/// A repacked archive, with what its repack left behind.
struct Stage {
    support::TemporaryDirectory archives{support::TemporaryDirectory::fast_base()};
    support::TemporaryDirectory state{support::TemporaryDirectory::fast_base()};
    OneAttribute fs;
    base::CancelFlag cancel;
    api::WorkerOrder order;
    std::string name;

    explicit Stage(const std::string& ending = ".vma")
        : name("vzdump-qemu-100-2026_01_02-03_04_05" + ending) {
        write_dump();
        order.job.id = 1;
        order.job.path = archives / name;
        order.job.announced = true;
        order.state_dir = state.path();
        order.threads = 2;
        CHECK(outcome_of(run()) == outcome::done);
        order.job.kind = api::JobKind::verify;
    }
    static testing::Guest small_guest() {
        testing::Content dense;
        dense.zero_fraction = 0;
        return testing::plausible_guest({{"drive-scsi0", 5 << 20, dense}});
    }
    /// As vzdump leaves it.
    void write_dump(const testing::Guest& guest = small_guest()) {
        const auto bytes = testing::dump(guest);
        archives.write(name, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    }
    api::WorkerResult run() {
        return worker::run_job(fs, order, cancel, {[](const auto&) {}, [](const auto&) {}});
    }
    void flip(std::size_t at) {
        auto text = archives.read(name);
        struct stat status {};
        REQUIRE(::stat(order.job.path.c_str(), &status) == 0);
        text[at] = static_cast<char>(text[at] ^ 4);
        archives.write(name, text);
        archives.set_modified(name, status.st_mtim);
    }
};

}  // namespace

TEST_CASE("a verify job finds an archive good, and says so in its record") {
    Stage stage;
    const auto result = stage.run();
    CHECK(outcome_of(result) == outcome::done);
    CHECK(result.size_before == result.size_after);
    REQUIRE(result.record);
    CHECK(result.record->verdict == api::Verdict::good);
    CHECK(result.record->digest.size() == 32);
    CHECK(result.record->device_digests.count("drive-scsi0") == 1);
    CHECK(result.record->verified_at == result.record->looked_at);
    CHECK(result.record->size_bytes == result.size_after);
    CHECK(result.cleaned_up);
}

TEST_CASE("a verify job names the region that went bad, and when it was last good") {
    Stage stage;
    stage.order.known = stage.run().record;
    stage.order.known->verified_at = 77;
    stage.flip(65536 + 512 + (2 << 20) + 512 + 5000);  // in the second region
    const auto result = stage.run();
    CHECK(outcome_of(result) == outcome::failed);
    CHECK(result.damaged);
    CHECK_FALSE(result.refused_file.empty());
    CHECK(result.damage == std::vector<api::DamagedPlace>{{"drive-scsi0", 2 << 20, 2 << 20}});
    REQUIRE(result.record);
    CHECK(result.record->verdict == api::Verdict::damaged);
    CHECK(result.record->digest == stage.order.known->digest);
    CHECK(result.record->verified_at == 77);
    CHECK(result.record->fault == result.reason);
    CHECK(result.reason.find("content digest mismatch") != std::string::npos);
}

TEST_CASE("what is bad because another process is writing it is not damaged") {
    Stage stage;
    stage.order.known = stage.run().record;
    stage.flip(65536 + 512 + 70000);
    const auto writer = stage.fs.open(stage.order.job.path, O_WRONLY);
    const auto result = stage.run();
    CHECK(outcome_of(result) == outcome::locked);
    CHECK(result.reason == "another process has the archive open for writing");
    CHECK_FALSE(result.damaged);
    CHECK_FALSE(result.record);
}

TEST_CASE("an archive that was never repacked is as good at the second look as at the first") {
    Stage stage;
    stage.write_dump();
    for (int look = 0; look < 2; ++look) {
        const auto result = stage.run();
        CHECK(outcome_of(result) == outcome::done);
        stage.order.known = result.record;
    }
    // What it held then is known, its form is not.
    stage.flip(stage.archives.read(stage.name).size() - 5000);
    const auto result = stage.run();
    CHECK(outcome_of(result) == outcome::failed);
    CHECK(result.reason.find("content digest mismatch") != std::string::npos);
    CHECK(result.damage.empty());
}

TEST_CASE("a verify job gathers checksums where none are kept, so that the next one can name regions") {
    Stage stage;
    std::filesystem::remove_all(stage.state / "regions");
    stage.order.known = stage.run().record;
    stage.flip(65536 + 512 + 70000);
    CHECK(stage.run().damage == std::vector<api::DamagedPlace>{{"drive-scsi0", 0, 2 << 20}});

    // Without them it is the disk alone.
    std::filesystem::remove_all(stage.state / "regions");
    const auto result = stage.run();
    CHECK(result.damage == std::vector<api::DamagedPlace>{{"drive-scsi0", 0, 5 << 20}});
    CHECK(result.reason.find("nothing tells which regions") != std::string::npos);
}

TEST_CASE("an archive that cannot be read counts as looked at, so that it keeps no other one from its turn") {
    Stage stage;
    stage.order.known = stage.run().record;
    stage.order.known->verified_at = stage.order.known->looked_at = 77;
    for (const int number : {EACCES, ESTALE}) {
        stage.fs.before = [&](const support::Call& call) {
            if (call.operation == "open_at" && call.path.find(stage.name) != std::string::npos)
                support::FaultFileSystem::fail(number, call);
        };
        const auto began = std::time(nullptr);
        const auto result = stage.run();
        CHECK(outcome_of(result) == (number == EACCES ? outcome::failed : outcome::retry));
        REQUIRE(result.record);
        CHECK(result.record->looked_at >= began);
        auto expected = *stage.order.known;
        expected.looked_at = result.record->looked_at;
        CHECK(*result.record == expected);
    }
}

TEST_CASE(
    "law: what cannot be read any more is a moment on the network, and may be damage on a disk of this "
    "node") {
    for (const bool is_on_network : {false, true}) {
        Stage stage;
        if (is_on_network) stage.fs.pretend(stage.archives.path(), "nfs4");
        bool is_read = false;
        unsigned damaged = 0;
        for (unsigned good = 0; !is_read; ++good) {
            CAPTURE(good);
            REQUIRE(good < 1000);
            std::atomic<unsigned> reads = 0;
            stage.fs.before = [&](const support::Call& call) {
                if (call.operation == "read_at" && call.path.find(stage.name) != std::string::npos &&
                    ++reads == good + 1)
                    support::FaultFileSystem::fail(EIO, call);
            };
            const auto result = stage.run();
            is_read = reads <= good;
            damaged += result.damaged ? 1 : 0;
            if (!is_read && !result.damaged) CHECK(outcome_of(result) == outcome::retry);
            if (is_read) CHECK(outcome_of(result) == outcome::done);
            if (result.damaged)
                CHECK(result.reason.starts_with("the storage cannot read a part of it any more: "));
        }
        CHECK((damaged == 0) == is_on_network);
    }
}

TEST_CASE(
    "the record of a damaged archive has the digest that it was published with, though nobody knew it") {
    Stage stage;
    const auto digest = stage.run().record.value().digest;
    stage.flip(65536 + 512 + 5000);
    stage.fs.value = stage.fs.was_set;
    const auto result = stage.run();
    CHECK(result.damaged);
    CHECK(result.record.value().digest == digest);
}

TEST_CASE("an archive that is pruned while it is opened has vanished") {
    Stage stage;
    stage.fs.before = [&](const support::Call& call) {
        if (call.operation == "open_at" && call.path.find(stage.name) != std::string::npos)
            CHECK(::unlink(stage.order.job.path.c_str()) == 0);
    };
    CHECK(outcome_of(stage.run()) == outcome::vanished);
}

TEST_CASE("what a run says fits a message, however long the names in the archive are") {
    testing::Guest guest;
    testing::Content dense;
    dense.zero_fraction = 0;
    for (char last = 'a'; last <= 't'; ++last)
        guest.disks.push_back({std::string(60'000, '\1') + last, 65536, dense});
    Stage stage;
    stage.write_dump(guest);
    const auto size_of_line = [&] { return api::to_line(api::WorkerEvent(stage.run())).size(); };
    stage.order.job.kind = api::JobKind::repack;
    CHECK(size_of_line() < 100'000);
    stage.order.job.kind = api::JobKind::verify;
    CHECK(size_of_line() < 100'000);
    stage.order.known = stage.run().record;
    stage.flip(stage.archives.read(stage.name).size() - 5000);
    CHECK(size_of_line() < 100'000);
    CHECK(stage.run().damaged);
}

TEST_CASE("a verify job waits for what a repack waits for, and writes nothing beside the archive") {
    Stage stage;
    {
        const auto status = stage.fs.status(stage.fs.open(stage.order.job.path, O_RDONLY));
        const auto lock =
            publish::InodeLock::take(stage.fs, stage.state / "locks", publish::identity_of(status));
        CHECK(outcome_of(stage.run()) == outcome::locked);
    }
    stage.order.job.announced = false;
    CHECK(outcome_of(stage.run()) == outcome::too_recent);
    stage.order.job.announced = true;
    bool done = false;
    stage.fs.before = [&](const support::Call& call) {
        if (!done && call.operation == "read_at" && call.path.find(stage.name) != std::string::npos) {
            done = true;
            support::FaultFileSystem::fail(ESTALE, call);
        }
    };
    CHECK(outcome_of(stage.run()) == outcome::retry);
    stage.fs.before = nullptr;
    stage.cancel.request();
    CHECK(outcome_of(stage.run()) == outcome::stopped);
    CHECK(stage.archives.names() == std::set<std::string>{stage.name});
    stage.archives.remove(stage.name);
    CHECK(outcome_of(stage.run()) == outcome::vanished);
    stage.order.job.path = stage.archives / "none/a.vma";
    stage.order.job.queued_at = std::time(nullptr);
    CHECK(outcome_of(stage.run()) == outcome::no_storage);
}
