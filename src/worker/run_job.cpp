#include "worker/run_job.hpp"

#include <fcntl.h>

#include <algorithm>
#include <ctime>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/progress_meter.hpp"
#include "base/text.hpp"
#include "base/units.hpp"
#include "io/mount_table.hpp"
#include "pve/guest_config.hpp"
#include "repack/in_place.hpp"
#include "worker/found_archive.hpp"
#include "worker/job_results.hpp"
#include "worker/new_since.hpp"
#include "worker/shared_blocks.hpp"
#include "worker/space_refusal.hpp"
#include "worker/verification.hpp"

namespace vmad::worker {
namespace {

using api::JobState;
using api::WaitReason;
using api::WorkerResult;
using nlohmann::json;

constexpr std::chrono::milliseconds kReportEvery{250};

api::JobProgress job_progress(const base::WholeProgress& whole) {
    return {to_string(whole.stage), whole.done_bytes, whole.total_bytes, whole.bytes_per_second,
            whole.remaining_seconds};
}

api::ArchiveRecord digests_of(const repack::InPlaceResult& result, const api::WorkerOrder& order) {
    return {.path = order.job.path, .digest = result.digest, .device_digests = result.device_digests};
}

WorkerResult result_of(const repack::InPlaceResult& result, const api::WorkerOrder& order) {
    switch (result.outcome) {
        case repack::InPlaceOutcome::done:
            return {.state = JobState::done,
                    .size_before = result.size_before,
                    .size_after = result.size_after,
                    .warning = result.warning,
                    .record = digests_of(result, order)};
        case repack::InPlaceOutcome::in_grace_period:
            return {.state = JobState::waiting,
                    .waiting_for = WaitReason::grace_period,
                    .reason = "canonical; the old file is kept for a while, for restores on other nodes",
                    .size_before = result.size_before,
                    .size_after = result.size_after,
                    .retry_after_seconds = order.grace_period_seconds,
                    .warning = result.warning,
                    .record = digests_of(result, order)};
        case repack::InPlaceOutcome::unchanged:
            return {.state = JobState::unchanged,
                    .size_before = result.size_before,
                    .size_after = result.size_after};
        case repack::InPlaceOutcome::vanished:
            return {.state = JobState::vanished};
        case repack::InPlaceOutcome::changed:
            return waits(WaitReason::retry, "the archive was changed while it was repacked");
        case repack::InPlaceOutcome::locked:
            return is_locked();
        case repack::InPlaceOutcome::open_for_writing: {
            auto later = waits(WaitReason::locked, "another process has the archive open for writing");
            later.warning = result.warning;
            return later;
        }
        case repack::InPlaceOutcome::too_recent: {
            auto later =
                waits(WaitReason::too_recent, "modified less than a minute ago: it may still be written to");
            later.retry_after_seconds = result.ready_in_seconds;
            return later;
        }
    }
    __builtin_unreachable();
}

/// Which of the archives beside this one are gone. Nothing when this one is, too: then it may be
/// another directory, for want of a mount.
std::vector<std::string> gone_beside(io::FileSystem& fs, const api::WorkerOrder& order) try {
    std::vector<std::string> gone;
    if (order.known_beside.empty()) return gone;
    const auto entry = publish::open_entry(fs, order.job.path, order.directories);
    for (const auto& path : order.known_beside)
        if (!fs.status_at(entry.directory, path.substr(path.rfind('/') + 1))) gone.push_back(path);
    return fs.status_at(entry.directory, entry.name) ? gone : std::vector<std::string>();
} catch (const base::Error&) {
    return {};  // the next job in the directory looks again
}

/// Throws when the archive's file system was mounted when it was queued, and is not now: the directory that
/// is seen then is another one, in which the archive is missing though nobody removed it.
void require_storage(io::FileSystem& fs, const api::Job& job) {
    if (job.mount_point.empty()) return;
    const auto mounts = io::MountTable::read(fs);
    const auto* mount = mounts.find(job.path);
    if (mount == nullptr || mount->mount_point.size() < job.mount_point.size())
        throw publish::StorageMissing(fmt::format("nothing is mounted at {}", job.mount_point));
}

/// When the job waits for a directory that nobody has ever seen, and has done so for long enough: a storage
/// that was mounted once may come back, but this one may be none.
bool waits_in_vain(io::FileSystem& fs, const api::Job& job, const WorkerResult& result) {
    constexpr std::int64_t kLongestWaitSeconds = std::int64_t{7} * 24 * 60 * 60;
    if (result.waiting_for != WaitReason::storage || !job.recovery.empty() ||
        std::time(nullptr) - job.queued_at < kLongestWaitSeconds)
        return false;
    try {
        require_storage(fs, job);
        return true;
    } catch (const base::Error&) {
        return false;
    }
}

WorkerResult cleaned_up(WorkerResult result) {
    result.cleaned_up = true;
    return result;
}

/// The result of the job when recovery ends it; nothing when the archive is to be repacked from the start.
/// Appends to `warning`.
std::optional<WorkerResult> recover(io::FileSystem& fs, const api::Job& job,
                                    const repack::InPlaceOptions& options, std::string& warning) {
    const auto record = json::parse(job.recovery).get<publish::RecoveryRecord>();
    const auto recovered = repack::recover_in_place(fs, job.path, options, record);
    if (!recovered) return is_locked();
    base::append_sentence(warning, recovered->warning);
    if (recovered->outcome == repack::InPlaceOutcome::done)
        return WorkerResult{.state = JobState::done,
                            .size_before = record.original.mark.size_bytes,
                            .size_after = record.replacement.size_bytes,
                            .cleaned_up = true};
    if (recovered->outcome != repack::InPlaceOutcome::vanished) return std::nullopt;
    require_storage(fs, job);
    return cleaned_up({.state = JobState::vanished});
}

WorkerResult recover_and_repack(io::FileSystem& fs, const api::WorkerOrder& order,
                                const repack::InPlaceOptions& options, std::string& warning) {
    const auto& job = order.job;
    require_storage(fs, job);
    if (!job.recovery.empty())
        if (auto result = recover(fs, job, options, warning)) return *result;
    if (order.recover_only) return cleaned_up(failed(job.reason));
    auto result = result_of(repack::repack_in_place(fs, job.path, options), order);
    // It may have been unmounted in between.
    if (result.state == JobState::vanished) require_storage(fs, job);
    // In the grace period the old file is there, after "changed" perhaps the temporary one.
    const bool leaves =
        result.waiting_for == WaitReason::grace_period || result.waiting_for == WaitReason::retry;
    return leaves ? result : cleaned_up(std::move(result));
}

/// The result of a run that left a record, when recovery has followed it.
WorkerResult recovered(io::FileSystem& fs, const api::Job& job, const repack::InPlaceOptions& options,
                       WorkerResult result, std::string& warning) {
    try {
        const auto now = recover(fs, job, options, warning);
        if (!now) return cleaned_up(std::move(result));
        return now->cleaned_up ? *now : result;
    } catch (const base::Error&) {
        // The record stays with the job; what went wrong first is what to report.
        return result;
    }
}

/// So much of a backup before may be read to find out what is new since: a small part of what the job reads
/// and writes itself.
std::uint64_t may_read_bytes(const WorkerResult& result) {
    constexpr std::uint64_t kAlways = std::uint64_t{16} << 20;
    constexpr std::uint64_t kPart = 8;
    return result.state == JobState::unchanged ? 0
                                               : std::max(kAlways, result.size_before.value_or(0) / kPart);
}

/// Keeps the checksums of the archive that the job has written, when it is there.
void keep_checksums(io::FileSystem& fs, const api::WorkerOrder& order, access::ChecksumRecording& recording,
                    const WorkerResult& result) {
    const auto entry = publish::open_entry(fs, order.job.path, order.directories);
    const auto archive = fs.open_at(entry.directory, entry.name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    if (static_cast<std::uint64_t>(fs.status(archive).st_size) == result.size_after)
        recording.finish(archive);
}

/// What the archive has that the backup before does not. The job is over, and as good without.
void find_out_what_is_new(io::FileSystem& fs, const api::WorkerOrder& order,
                          access::ChecksumRecording& recording, const access::ChecksumStore& store,
                          WorkerResult& result, const base::CancelFlag& cancel, const JobReports& reports) {
    const bool is_canonical = result.state == JobState::done || result.state == JobState::unchanged ||
                              result.waiting_for == WaitReason::grace_period;
    if (!is_canonical) return;
    try {
        keep_checksums(fs, order, recording, result);
        result.since = new_since(
            fs, order.job.path,
            {.directories = order.directories, .store = store, .may_read_bytes = may_read_bytes(result)},
            cancel);
        if (result.since && result.record) result.record->new_bytes = result.since->new_bytes;
    } catch (const std::exception& error) {
        if (reports.debug)
            reports.debug(
                fmt::format("what is new since the backup before was not found out: {}", error.what()));
    }
}

/// Lets the archive that was published share blocks with the backup before. The job is over, and as good
/// without.
void share_blocks(io::FileSystem& fs, const api::WorkerOrder& order, const access::ChecksumStore& store,
                  WorkerResult& result, const base::CancelFlag& cancel, const JobReports& reports) {
    if (!order.share_blocks || result.state != JobState::done) return;
    base::ProgressMeter meter({base::Stage::sharing}, kReportEvery,
                              [&](const auto& whole) { reports.progress(job_progress(whole)); });
    try {
        const auto shared = share_with_backup_before(fs, order.job.path,
                                                     {.directories = order.directories,
                                                      .lock_directory = order.state_dir + "/locks",
                                                      .store = store,
                                                      .reserve_bytes = order.reserve_bytes,
                                                      .task = {1, &cancel, meter.sink()}});
        if (!shared) return;
        result.shared_bytes = shared->bytes;
        if (reports.log)
            reports.log(fmt::format("{} are in blocks shared with {}", base::format_size(shared->bytes),
                                    shared->archive));
    } catch (const base::Cancelled&) {
    } catch (const base::Error& error) {
        if (reports.log)
            reports.log(fmt::format("blocks are not shared with the backup before: {}", error.what()));
    } catch (const std::bad_alloc&) {
    }
}

WorkerResult run_verification(io::FileSystem& fs, const api::WorkerOrder& order,
                              const base::CancelFlag& cancel, const JobReports& reports) {
    base::ProgressMeter meter({base::Stage::verifying}, kReportEvery,
                              [&](const auto& whole) { reports.progress(job_progress(whole)); });
    const access::ChecksumStore store(order.state_dir + "/regions");
    const auto threads = order.threads != 0 ? order.threads : base::default_threads();
    WorkerResult result;
    std::string version;
    try {
        require_storage(fs, order.job);
        result = verify_archive(fs, order, {{threads, &cancel, meter.sink()}, store}, version);
        // It may have been unmounted in between.
        if (result.state == JobState::vanished) require_storage(fs, order.job);
    } catch (...) {
        result = result_of_failure(version);
    }
    if (waits_in_vain(fs, order.job, result)) result = failed(result.reason + " Given up after a week.");
    if (!result.record) result.record = record_after_failed_look(fs, order, result);
    result.gone = gone_beside(fs, order);
    return cleaned_up(std::move(result));
}

WorkerResult run_repack(io::FileSystem& fs, const api::WorkerOrder& order, const base::CancelFlag& cancel,
                        const JobReports& reports) {
    base::ProgressMeter meter({base::Stage::repacking, base::Stage::verifying, base::Stage::checking},
                              kReportEvery,
                              [&](const auto& whole) { reports.progress(job_progress(whole)); });
    repack::InPlaceOptions options;
    options.repack.task.threads = order.threads != 0 ? order.threads : base::default_threads();
    options.repack.memory_bytes = order.memory_bytes;
    options.repack.spill.directory = order.spill_dir;
    options.repack.zstd_level = order.zstd_level;
    options.repack.task.cancel = &cancel;
    options.repack.task.progress = meter.sink();
    options.repack.configs_read = [&](const auto& configs) {
        for (const auto& config : configs)
            if (config.name == pve::kGuestConfig && reports.guest)
                reports.guest(pve::guest_name(config.data));
    };
    options.source_cache = io::CacheUse::drop_behind;
    options.verify_source = order.verify_source;
    options.directories = order.directories;
    options.announced = order.job.announced;
    options.lock_directory = order.state_dir + "/locks";
    options.reserve_bytes = order.reserve_bytes;
    options.keep_original = order.grace_period_seconds > 0;
    options.read_back_chosen = [&](verify::ReadBack read_back) {
        if (!reports.log) return;
        reports.log(
            read_back == verify::ReadBack::behind_writer
                ? "the copy is verified while it is written: the disk does not rotate"
                : "the copy is verified when it is complete: the storage is not known to be a local disk "
                  "that does not rotate");
    };
    auto job = order.job;
    const access::ChecksumStore store(order.state_dir + "/regions");
    access::ChecksumRecording recording(fs, store);
    options.repack.checksums = &recording;
    options.journal = [&](const publish::RecoveryRecord& record) {
        const bool preparing = record.phase == publish::RecoveryRecord::Phase::preparing;
        job.recovery = json(record).dump();
        reports.record({preparing ? api::JobState::running : api::JobState::publishing, job.recovery});
    };
    std::string version;
    options.opened = [&](const publish::FileIdentity& file) { version = publish::file_version(file); };
    options.before_copy = [&](std::uint64_t size_bytes) {
        require_other_space(fs, order.job, size_bytes, std::time(nullptr));
    };
    WorkerResult result;
    std::string warning;  // of recovery, before the run and after it
    try {
        result = recover_and_repack(fs, order, options, warning);
    } catch (...) {
        result = result_of_failure(version);
    }
    if (waits_in_vain(fs, job, result))
        result = cleaned_up(failed(result.reason + " Given up after a week."));
    if (result.space_refusal) add_freed_space(fs, *result.space_refusal);
    // The next run would recover, but a job that has failed has none.
    const bool over = result.cleaned_up || result.waiting_for == WaitReason::grace_period;
    if (!over && !job.recovery.empty()) result = recovered(fs, job, options, std::move(result), warning);
    base::append_sentence(result.warning, warning);
    result.record = record_after_repack(fs, order, result);
    if (!order.last_attempt) {
        find_out_what_is_new(fs, order, recording, store, result, cancel, reports);
        share_blocks(fs, order, store, result, cancel, reports);
    }
    result.gone = gone_beside(fs, order);
    return result;
}

}  // namespace

WorkerResult run_job(io::FileSystem& fs, const api::WorkerOrder& order, const base::CancelFlag& cancel,
                     const JobReports& reports) {
    auto result = order.job.kind == api::JobKind::verify ? run_verification(fs, order, cancel, reports)
                                                         : run_repack(fs, order, cancel, reports);
    api::bound(result);
    return result;
}

}  // namespace vmad::worker
