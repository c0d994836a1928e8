// A job of the daemon, from its order to its result, and the next run of it, on a file system that fails.
#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "call_matrix.hpp"
#include "engine/engine_run.hpp"
#include "io/temporary_name.hpp"
#include "job_cases.hpp"
#include "loop_volume.hpp"
#include "support/dump.hpp"
#include "support/reference.hpp"
#include "support/temporary_directory.hpp"
#include "worker/run_job.hpp"

using namespace vmad;
using namespace vmad::fault;
using api::JobState;
using codec::ArchiveFormat;

namespace {

const std::string& canonical_text() {
    static const auto text = [] {
        const auto guest = testing::plausible_guest({{"drive-scsi0", 3 << 20, {}}});
        const auto bytes = testing::reference_repack(testing::dump(guest));
        return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    }();
    return text;
}

/// Of the day before, canonical too: most blocks are the same.
const std::string& earlier_text() {
    static const auto text = [] {
        auto guest = testing::plausible_guest({{"drive-scsi0", 3 << 20, {}}});
        testing::change_blocks(guest, 3, 1);
        const auto bytes = testing::reference_repack(testing::dump(guest));
        return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    }();
    return text;
}

/// So much disorder that a small memory does not hold it.
const std::string& original_of(ArchiveFormat format) {
    static std::map<ArchiveFormat, std::string> originals;
    auto& text = originals[format];
    if (text.empty()) {
        const auto guest = testing::plausible_guest({{"drive-scsi0", 3 << 20, {}}});
        const auto bytes = testing::stored_as(format, testing::dump(guest, {.shuffle = true}));
        text = {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
    }
    return text;
}

class JobStage final : public Stage {
  public:
    explicit JobStage(const JobCase& job) : job_(job), archives_(job.storage) {
        archives_.write(job.archive, original());
        if (!job.earlier.empty()) {
            archives_.write(job.earlier, earlier_text());
            order_.known_beside = {archives_ / job.earlier};
            order_.share_blocks = true;
        }
        if (job.verifies) order_.job.kind = api::JobKind::verify;
        order_.job.id = 1;
        order_.job.path = archives_ / job.archive;
        order_.job.mount_point = "/";
        order_.job.announced = true;
        order_.state_dir = state_.path();
        order_.spill_dir = state_.path();
        order_.memory_bytes = 0;
        order_.threads = 2;
        ::mkdir((state_ / "locks").c_str(), 0700);
        if (!job.dies_after.empty()) die();
    }

    std::string run(FailingFileSystem& fs) override {
        restrict(fs);
        const base::CancelFlag cancel;
        result_ = worker::run_job(
            fs, order_, cancel,
            {[this](const api::WorkerRecord& record) { order_.job.recovery = record.recovery; },
             [](const api::JobProgress&) {}});
        if (result_.cleaned_up) order_.job.recovery.clear();
        return is_well() || is_of_the_archive() ? "" : result_.reason;
    }

    void check(const std::string&, const Failure& failure) override {
        static std::map<std::string, std::string> canonical;
        demand(archives_.has(job_.archive), "the archive is gone");
        const auto now = archives_.read(job_.archive);
        auto& expected = canonical[job_.title];
        if (expected.empty()) expected = now;
        demand(job_.verifies == (expected == original()), "it was not repacked");
        demand(now == expected || now == original(), "the archive is neither old nor new");
        if (is_well()) demand(now == expected, "the archive is not new");
        if (failure.method.empty() && job_.shares)
            demand(result_.shared_bytes.value_or(0) > 0, "no blocks are shared");
        demand(result_.state != JobState::running && result_.state != JobState::publishing &&
                   result_.state != JobState::cancelled,
               "the job has no result");
        demand(is_well() || result_.state == JobState::vanished || !result_.reason.empty(),
               "there is no reason");
        if (hides_a_file(failure)) return;
        if (order_.job.recovery.empty()) demand(is_clean(), "something is left, and no record of it");
        FailingFileSystem healthy;
        (void)run(healthy);
        demand(is_well(), "the next run ends badly: " + result_.reason);
        demand(archives_.read(job_.archive) == expected, "the next run leaves something else");
        demand(is_clean(), "the next run leaves something beside it");
    }

  private:
    void restrict(FailingFileSystem& fs) const {
        fs.has_unnamed = job_.unnamed;
        fs.has_exchange = job_.exchange;
        fs.has_links = job_.links;
    }
    /// In a process that ends there, which leaves its last record.
    void die() {
        const auto child = ::fork();
        if (child == 0) {
            FailingFileSystem fs;
            restrict(fs);
            fs.after = [this](const support::Call& call) {
                if (call.operation == job_.dies_after) ::_exit(0);
            };
            const base::CancelFlag cancel;
            (void)worker::run_job(
                fs, order_, cancel,
                {[this](const api::WorkerRecord& record) { state_.write("record", record.recovery); },
                 [](const api::JobProgress&) {}});
            ::_exit(1);
        }
        int status = -1;
        demand(::waitpid(child, &status, 0) == child && status == 0, "it did not die");
        order_.job.recovery = state_.read("record");
        std::filesystem::remove(state_ / "record");
    }
    [[nodiscard]] const std::string& original() const {
        return job_.verifies ? canonical_text() : original_of(job_.format);
    }
    [[nodiscard]] bool is_well() const {
        return result_.state == JobState::done || result_.state == JobState::unchanged;
    }
    /// No call has failed, as far as the job can tell: so the reason names none.
    [[nodiscard]] bool is_of_the_archive() const {
        return result_.waiting_for == api::WaitReason::locked ||
               result_.reason == "the archive was changed while it was repacked";
    }
    /// Empty lock files do no harm.
    [[nodiscard]] bool is_clean() const {
        for (const auto& entry : std::filesystem::recursive_directory_iterator(state_.path())) {
            const auto name = entry.path().filename().string();
            if (io::is_temporary_name(name) || io::is_reserved_name(name)) return false;
        }
        if (!job_.earlier.empty() && archives_.read(job_.earlier) != earlier_text()) return false;
        return archives_.names().size() == (job_.earlier.empty() ? 1 : 2);
    }

    const JobCase& job_;
    support::TemporaryDirectory archives_;
    support::TemporaryDirectory state_{support::TemporaryDirectory::fast_base()};
    api::WorkerOrder order_;
    api::WorkerResult result_;
};

void run_case(const JobCase& job) {
    fail_every_call("job: " + job.title, [&] { return std::make_unique<JobStage>(job); });
}

}  // namespace

TEST_CASE("job") {
    for (const auto& job : job_cases()) {
        CAPTURE(job.title);
        run_case(job);
    }
}
TEST_CASE("job: recovery after an exchange, after a link") {
    run_case({.title = "recovery after an exchange", .dies_after = "exchange"});
    run_case({.title = "recovery after a link", .unnamed = false, .exchange = false, .dies_after = "link"});
}
TEST_CASE("job: blocks are shared on XFS, on btrfs") {
    for (const std::string kind : {"xfs", "btrfs"}) {
        const LoopVolume volume(kind);
        if (!volume.is_usable("shared_on_" + kind)) continue;
        run_case({.title = "blocks are shared on " + kind,
                  .archive = "vzdump-qemu-100-2024_01_02-03_04_05.vma",
                  .earlier = "vzdump-qemu-100-2024_01_01-03_04_05.vma",
                  .storage = volume.path(),
                  .shares = true});
    }
}
