// What a run leaves for the catalogue: from what was known, from how it ended, and from the file as it is.
#include "worker/found_archive.hpp"

#include <fcntl.h>

#include <cerrno>
#include <ctime>
#include <filesystem>

#include <doctest/doctest.h>

#include "publish/file_identity.hpp"
#include "support/fault_file_system.hpp"
#include "support/run_outcome.hpp"
#include "support/temporary_directory.hpp"
#include "verify/published_digest.hpp"

using namespace vmad;
namespace outcome = support::outcome;

namespace {

const std::string kName = "vzdump-qemu-100-2026_01_02-03_04_05.vma";
constexpr timespec kModified{1'700'000'000, 7};

/// A file system that keeps extended attributes wherever the tests run.
class WithAttribute : public support::FaultFileSystem {
  public:
    std::optional<std::string> value;
    std::optional<std::string> attribute(const io::File&, const std::string&) override { return value; }
};

struct Stage {
    support::TemporaryDirectory archives;
    WithAttribute fs;
    api::WorkerOrder order;

    Stage() {
        archives.write(kName, "archive");
        archives.set_modified(kName, kModified);
        order.job.path = archives / kName;
        order.job.vmid = 100;
    }
    /// Of another state of the file when `size_bytes` is not 7.
    void know(std::uint64_t size_bytes) {
        order.known = api::ArchiveRecord{.path = "/elsewhere",
                                         .storage = "nas",
                                         .guest = "web",
                                         .size_bytes = size_bytes,
                                         .modified_ns = publish::nanoseconds(kModified),
                                         .digest = "known",
                                         .repacked_at = 11,
                                         .verified_at = 12,
                                         .looked_at = 13,
                                         .verdict = api::Verdict::damaged,
                                         .fault = "a bad block"};
    }
    /// Gives the archive the digest that it was published with.
    std::string give_attribute() {
        verify::Fingerprint fingerprint;
        const auto attributes = verify::published_digest_attribute(fingerprint, 7, kModified);
        fs.value = attributes.begin()->second;
        return fingerprint.digest.to_hex();
    }
    std::optional<api::ArchiveRecord> after_repack(const api::WorkerResult& result) {
        return worker::record_after_repack(fs, order, result);
    }
    std::optional<api::ArchiveRecord> after_look(const api::WorkerResult& result) {
        return worker::record_after_failed_look(fs, order, result);
    }
};

/// The result of a job that wrote an archive with this digest, or none.
api::WorkerResult done(const std::string& digest, support::Outcome ending = outcome::done) {
    auto result = ending.sized(9, 7);
    result.record.emplace();
    result.record->digest = digest;
    result.record->device_digests = {{"drive-scsi0", digest}};
    return result;
}

}  // namespace

TEST_CASE("what was known of the file stays while it is the same, of another one only whose it is") {
    Stage stage;
    struct stat status {};
    REQUIRE(::stat(stage.order.job.path.c_str(), &status) == 0);
    const auto blank = worker::record_of(stage.order, status);
    CHECK(blank == api::ArchiveRecord{.path = stage.order.job.path,
                                      .vmid = 100,
                                      .backup_at = blank.backup_at,
                                      .size_bytes = 7,
                                      .modified_ns = publish::nanoseconds(kModified)});
    CHECK(blank.backup_at != kModified.tv_sec);  // its name tells
    stage.know(7);
    auto same = *stage.order.known;
    same.path = blank.path;
    same.vmid = blank.vmid;
    same.backup_at = blank.backup_at;
    CHECK(worker::record_of(stage.order, status) == same);
    auto other = blank;
    other.storage = "nas";
    other.guest = "web";
    stage.know(8);
    CHECK(worker::record_of(stage.order, status) == other);
    stage.know(7);
    --stage.order.known->modified_ns;
    CHECK(worker::record_of(stage.order, status) == other);
    // A name that is none of vzdump's.
    stage.order.job.path = "/dump/a.vma";
    CHECK(worker::record_of(stage.order, status).backup_at == kModified.tv_sec);
}

TEST_CASE("a published archive is good from now on, with the digest that was written") {
    for (const auto ending : {outcome::done, outcome::in_grace_period}) {
        Stage stage;
        stage.know(7);
        const auto began = std::time(nullptr);
        const auto record = stage.after_repack(done("written", ending)).value();
        CHECK(record.verdict == api::Verdict::good);
        CHECK(record.fault.empty());
        CHECK(record.digest == "written");
        CHECK(record.device_digests.at("drive-scsi0") == "written");
        for (const auto time : {record.repacked_at, record.verified_at, record.looked_at})
            CHECK(time.value() >= began);
    }
}

TEST_CASE("a run that only ends what another one has published leaves its times and its digest") {
    for (const bool has_record : {false, true}) {
        Stage stage;
        auto result = done("");
        if (!has_record) result.record.reset();
        const auto began = std::time(nullptr);
        const auto digest = stage.give_attribute();
        CHECK(stage.after_repack(result)->digest == digest);
        CHECK(stage.after_repack(result)->repacked_at.value() >= began);
        stage.know(7);
        const auto record = stage.after_repack(result).value();
        CHECK(record.digest == "known");
        CHECK(record.repacked_at == 11);
        CHECK(record.verified_at == 12);
        CHECK(record.looked_at == 13);
        CHECK(record.verdict == api::Verdict::good);
    }
}

TEST_CASE("what somebody else has put there is not what was published") {
    Stage stage;
    auto result = done("written");
    result.size_after = 8;
    const auto record = stage.after_repack(result).value();
    CHECK(record.verdict == api::Verdict::unverified);
    CHECK(record.digest.empty());
    CHECK_FALSE(record.repacked_at);
}

TEST_CASE("a damaged archive has its fault, and the digest that it should have") {
    auto result = outcome::failed.because("a checksum is wrong");
    result.damaged = true;
    for (const bool is_known : {false, true}) {
        Stage stage;
        const auto digest = stage.give_attribute();
        if (is_known) stage.know(7);
        const auto began = std::time(nullptr);
        const auto record = stage.after_repack(result).value();
        CHECK(record.verdict == api::Verdict::damaged);
        CHECK(record.fault == "a checksum is wrong");
        CHECK(record.digest == (is_known ? "known" : digest));
        CHECK(record.looked_at.value() >= began);
        CHECK(record.repacked_at == (is_known ? std::optional<std::int64_t>(11) : std::nullopt));
    }
}

TEST_CASE("an archive that was canonical is as it was known, or has the digest that it was published with") {
    Stage stage;
    CHECK(stage.after_repack(outcome::unchanged.sized(7, 7))->digest.empty());
    const auto digest = stage.give_attribute();
    CHECK(stage.after_repack(outcome::unchanged.sized(7, 7))->digest == digest);
    stage.know(7);
    CHECK(stage.after_repack(outcome::unchanged.sized(7, 7))->verdict == api::Verdict::damaged);
    CHECK(stage.after_repack(outcome::unchanged.sized(7, 7))->digest == "known");
}

TEST_CASE("law: each way to end leaves a record, or none") {
    for (const auto& ending : outcome::all) {
        Stage stage;
        stage.know(7);
        CAPTURE(static_cast<int>(ending.state));
        const bool publishes = ending == outcome::done || ending == outcome::in_grace_period;
        CHECK(stage.after_repack(ending.sized(9, 7)).has_value() ==
              (publishes || ending == outcome::unchanged));
        const bool could_not_look = ending == outcome::failed || ending == outcome::retry;
        const auto looked = stage.after_look(ending.because("no"));
        REQUIRE(looked.has_value() == could_not_look);
        if (looked) CHECK(looked->digest == "known");
        // Nor where there is nothing to look at.
        stage.archives.remove(kName);
        CHECK_FALSE(stage.after_repack(ending.sized(9, 7)));
        CHECK_FALSE(stage.after_look(ending.because("no")));
        std::filesystem::create_directory(stage.order.job.path);
        CHECK_FALSE(stage.after_look(ending.because("no")));
        stage.order.job.path = stage.archives / "none/a.vma";
        CHECK_FALSE(stage.after_look(ending.because("no")));
    }
}

TEST_CASE("an archive that cannot be opened leaves no record of a repack") {
    Stage stage;
    stage.fs.before = [](const support::Call& call) {
        if (call.operation == "open_at") support::FaultFileSystem::fail(EIO, call);
    };
    CHECK_FALSE(stage.after_repack(done("written")));
}
