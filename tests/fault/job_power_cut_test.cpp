// The power is cut at any operation of a job, from the request of the hook to its end, and of the next start;
// then the daemon starts again. Neither order nor atomicity between directories is taken for granted, so it
// does not matter on which file systems the archives and the state are.
#include <fcntl.h>

#include <filesystem>

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "access/checksum_store.hpp"
#include "engine/engine_run.hpp"
#include "io/temporary_name.hpp"
#include "job_cases.hpp"
#include "power_cuts.hpp"
#include "queue/catalogue.hpp"
#include "queue/incoming.hpp"
#include "queue/queue.hpp"
#include "queue/transition.hpp"
#include "recording_file_system.hpp"
#include "support/dump.hpp"
#include "support/reference.hpp"
#include "worker/run_job.hpp"

using namespace vmad;
using namespace vmad::fault;
using api::JobState;
using support::TemporaryDirectory;

namespace {

constexpr std::int64_t kNow = 1'800'000'000;
constexpr std::int64_t kModifiedNs = 1'700'000'000'123'456'789;
constexpr const char* kAttribute = "user.vmad";
constexpr std::size_t kMostStates = 25;
constexpr std::size_t kMostSecondStates = 1;

std::string text_of(const testing::Bytes& bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

const testing::Guest& guest() {
    static const auto made = testing::plausible_guest({{"drive-scsi0", 256 << 10, {}}});
    return made;
}

FileNode archive_of(std::string content) {
    return {.content = std::make_shared<const Content>(std::move(content)),
            .modified_ns = kModifiedNs,
            .mode = 0640};
}

FileNode canonical() { return archive_of(text_of(testing::reference_repack(testing::dump(guest())))); }

FileNode original_of(const JobCase& job) {
    if (job.verifies) return canonical();
    return archive_of(text_of(testing::stored_as(job.format, testing::dump(guest(), {.shuffle = true}))));
}

std::set<std::string> names_in(const std::string& directory) {
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(directory))
        names.insert(entry.path().filename().string());
    return names;
}

/// What a client was told, or the hook.
enum Promise : std::size_t { nothing, requested, queued, ended };

/// The daemon over a file system, with the worker in it: what daemon/job_runner does, in its order.
class SmallDaemon {
  public:
    SmallDaemon(io::FileSystem& fs, const JobCase& job, const std::string& root)
        : fs_(fs),
          job_(job),
          root_(root),
          spool_(fs, root + "/state"),
          queue_(spool_, kNow),
          catalogue_(fs, spool_.archives_directory()) {}

    [[nodiscard]] bool is_sound() const {
        return queue_.bad_files().empty() && catalogue_.bad_files().empty();
    }
    [[nodiscard]] const api::Job* job() const { return queue_.find(path()); }
    /// A request that comes back with a power cut makes another one.
    [[nodiscard]] const api::Job* first_job() const { return queue_.find(1); }
    [[nodiscard]] const api::ArchiveRecord* record() const { return catalogue_.find(path()); }
    [[nodiscard]] std::string path() const { return root_ + "/dump/" + job_.archive; }

    [[nodiscard]] bool take_incoming() {
        return queue::take_incoming(
                   fs_, spool_.incoming_directory(),
                   [&](const std::string& requested) {
                       queue_.enqueue({.path = requested,
                                       .mount_point = "/",
                                       .vmid = 100,
                                       .kind = job_.verifies ? api::JobKind::verify : api::JobKind::repack},
                                      true, kNow);
                       return std::optional<std::string>();
                   })
            .empty();
    }

    /// Runs the jobs to their ends.
    void run() {
        constexpr int kMostRuns = 5;
        for (int runs = 0; runs < kMostRuns; ++runs) {
            const auto* waiting = job();
            if (waiting == nullptr ||
                (waiting->state != JobState::queued && waiting->state != JobState::waiting))
                return;
            run_once(waiting->id);
        }
    }

  private:
    void run_once(std::uint64_t id) {
        const auto& started = queue_.start(id, "/", kNow);
        api::WorkerOrder order;
        order.job = started;
        order.state_dir = order.spill_dir = root_ + "/state";
        order.recover_only = queue::only_recovers(started);
        order.threads = 1;
        if (const auto* known = catalogue_.find(path())) order.known = *known;
        if (!job_.earlier.empty()) {
            order.known_beside = {root_ + "/dump/" + job_.earlier};
            order.share_blocks = true;
        }
        const base::CancelFlag cancel;
        const auto result =
            worker::run_job(fs_, order, cancel,
                            {[&](const api::WorkerRecord& record) { queue_.save_recovery(id, record); },
                             [](const api::JobProgress&) {}});
        if (const auto record = queue::record_after(catalogue_.find(path()), *queue_.find(id), result))
            catalogue_.put(*record);
        if (result.state == JobState::vanished) (void)catalogue_.forget(path());
        (void)queue_.finish(id, result, kNow);
    }

    io::FileSystem& fs_;
    const JobCase& job_;
    std::string root_;
    queue::Spool spool_;
    queue::Queue queue_;
    queue::Catalogue catalogue_;
};

/// A job, what it was recorded to do, and what must hold wherever the power is cut.
class CutJob {
  public:
    explicit CutJob(const JobCase& job) : job_(job), original_(original_of(job)) {
        auto image = empty_image();
        const auto dump = add_directory(image, "dump");
        add_file(image, dump, job.archive, original_);
        if (!job.earlier.empty()) add_file(image, dump, job.earlier, canonical());
        record_job(image);
    }

    void cut_everywhere() {
        auto states = states_after_cuts(
            image_, operations_, [&](std::size_t done) { return promised(done); }, seen_);
        const auto found = states.size();
        states = sampled(std::move(states), kMostStates);
        std::size_t number = 0;
        for (const auto& state : states) {
            CAPTURE(job_.title);
            CAPTURE(state.title);
            start_again(state, promised(state.operations), number++);
        }
        print_cuts(job_.title, operations_.size(), found, states.size());
        print_cuts(job_.title + ", and in the next start", second_operations_, second_tried_, second_tried_);
    }

  private:
    void restrict(RecordingFileSystem& fs) const {
        fs.has_unnamed = job_.unnamed;
        fs.has_exchange = job_.exchange;
        fs.has_links = job_.links;
    }

    void record_job(const DiskImage& image) {
        RecordingFileSystem fs(root_, image);
        restrict(fs);
        const auto promise = [&](Promise kept) { promised_at_[kept] = fs.operations().size(); };
        (void)queue::leave_request(fs, root_ / "state", root_ / "dump/" + job_.archive);
        promise(requested);
        SmallDaemon daemon(fs, job_, root_.path());
        REQUIRE(daemon.take_incoming());
        promise(queued);
        daemon.run();
        promise(ended);
        REQUIRE(daemon.job()->state == JobState::done);
        REQUIRE(daemon.record()->verdict == api::Verdict::good);
        record_ = *daemon.record();
        image_ = fs.start();
        operations_ = fs.operations();
        ChangingDisk disk(image_);
        for (const auto& operation : operations_) disk.apply(operation);
        result_ = *disk.now().file("dump/" + job_.archive);
        if (!result_.attributes.contains(kAttribute)) MESSAGE("no attributes in /dev/shm");
        REQUIRE((result_.text() == original_.text()) == job_.verifies);
    }

    [[nodiscard]] Promise promised(std::size_t done) const {
        Promise latest = nothing;
        for (const auto& [promise, at] : promised_at_)
            if (done >= at) latest = promise;
        return latest;
    }

    [[nodiscard]] bool is_new(const FileNode& file) const { return file.text() == result_.text(); }

    /// Of what lies on the disk before anybody has looked at it.
    void check_archive(const DiskImage& image, Promise promise) const {
        const auto* archive = image.file("dump/" + job_.archive);
        REQUIRE(archive != nullptr);
        CHECK((is_new(*archive) || archive->text() == original_.text()));
        CHECK(archive->mode == original_.mode);
        if (promise == ended) CHECK(is_new(*archive));
        const auto attribute = archive->attributes.find(kAttribute);
        if (attribute != archive->attributes.end()) {
            CHECK(is_new(*archive));
            CHECK(attribute->second == result_.attributes.at(kAttribute));
        }
        if (!job_.earlier.empty()) CHECK(image.file("dump/" + job_.earlier)->text() == canonical().text());
    }

    /// What is known of the archive is of the file that is there, and holds.
    void check_record(const api::ArchiveRecord* record, const FileNode& archive) const {
        if (record == nullptr) return;
        const bool is_of_this =
            record->size_bytes == archive.text().size() && record->modified_ns == archive.modified_ns;
        CHECK(is_of_this);
        CHECK(record->verdict == api::Verdict::good);
        CHECK(record->digest == record_.digest);
        CHECK(is_new(archive));
    }

    void check_checksums(io::FileSystem& fs, const FileNode& archive) const {
        const auto file = fs.open(root_ / "dump/" + job_.archive, O_RDONLY);
        const auto found = access::ChecksumStore(root_ / "state/regions").find(fs, file);
        if (found) CHECK(is_new(archive));
        if (found) CHECK(found->size() == 1);
    }

    /// Of what was left by the cut: a day has gone by, so nobody writes to it any more.
    static DiskImage aged(DiskImage image) {
        for (const auto& [path, node] : image.paths()) {
            const auto name = path.substr(path.rfind('/') + 1);
            if (path.starts_with("state/") && name.starts_with('.')) image.files.at(node).modified_ns = 0;
        }
        return image;
    }

    void start_again(const CutState& state, Promise promise, std::optional<std::size_t> again = {}) {
        check_archive(state.image, promise);
        RecordingFileSystem fs(root_, aged(state.image));
        restrict(fs);
        const auto& archive = *state.image.file("dump/" + job_.archive);
        bool was_known = false;
        {
            SmallDaemon daemon(fs, job_, root_.path());
            CHECK(daemon.is_sound());
            check_record(daemon.record(), archive);
            check_checksums(fs, archive);
            if (promise == ended) REQUIRE(daemon.first_job() != nullptr);
            if (promise == ended) CHECK(daemon.first_job()->state == JobState::done);
            CHECK(daemon.take_incoming());
            was_known = daemon.job() != nullptr;
            CHECK((was_known || promise == nothing));
            daemon.run();
            if (was_known) check_end(daemon);
        }
        check_archive_after(was_known);
        if (again) cut_again(fs, promise, *again);
    }

    static void check_end(const SmallDaemon& daemon) {
        const auto* job = daemon.job();
        CAPTURE(job->reason);
        CHECK((job->state == JobState::done || job->state == JobState::unchanged));
        CHECK(job->recovery.empty());
        const auto* record = daemon.record();
        REQUIRE(record != nullptr);
        CHECK(record->verdict == api::Verdict::good);
    }

    /// The work is done, and nothing but it is left.
    void check_archive_after(bool was_known) const {
        CHECK(root_.read("dump/" + job_.archive) == (was_known ? result_ : original_).text());
        std::set<std::string> expected{job_.archive};
        if (!job_.earlier.empty()) expected.insert(job_.earlier);
        CHECK(names_in(root_ / "dump") == expected);
        for (const auto& entry : std::filesystem::recursive_directory_iterator(root_ / "state")) {
            const auto name = entry.path().filename().string();
            CAPTURE(entry.path().string());
            // There the next job that keeps checksums clears up.
            if (entry.path().parent_path().filename() == "regions") continue;
            CHECK_FALSE(io::is_temporary_name(name));
            CHECK_FALSE(io::is_reserved_name(name));
        }
    }

    /// And in what the next start did.
    void cut_again(const RecordingFileSystem& fs, Promise promise, std::size_t seed) {
        const auto operations = fs.operations();
        const auto states = some_states_after_cuts(fs.start(), operations, kMostSecondStates, seed);
        second_operations_ += operations.size();
        second_tried_ += states.size();
        for (const auto& state : states) {
            INFO("and again, seed " << seed << ": " << state.title);
            start_again(state, promise);
        }
    }

    const JobCase& job_;
    TemporaryDirectory root_{TemporaryDirectory::fast_base()};
    FileNode original_;
    FileNode result_;
    api::ArchiveRecord record_;
    DiskImage image_;
    std::vector<Operation> operations_;
    std::map<Promise, std::size_t> promised_at_;
    std::set<std::size_t> seen_;
    std::size_t second_operations_ = 0;
    std::size_t second_tried_ = 0;
};

}  // namespace

TEST_CASE("job") {
    for (const auto& job : job_cases()) {
        CAPTURE(job.title);
        CutJob(job).cut_everywhere();
    }
}
