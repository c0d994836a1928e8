#include "worker/run_job.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <new>
#include <system_error>

#include <fmt/format.h>

#include "base/error.hpp"
#include "io/mount_table.hpp"
#include "repack/in_place.hpp"
#include "worker/progress_meter.hpp"

namespace vmad::worker {
namespace {

using api::WorkerOutcome;
using api::WorkerResult;

/// Errors of the storage or of a moment, which may be gone the next time. Others will be the same again.
bool is_transient(int error_number) {
    static constexpr std::array kTransient{
        EIO,   ESTALE,     ETIMEDOUT,    EAGAIN,    ENOMEM,   EMFILE,       ENFILE,      EBUSY,     ENOLCK,
        EROFS, ECONNRESET, ECONNREFUSED, EHOSTDOWN, ENOTCONN, EHOSTUNREACH, ENETUNREACH, EREMOTEIO, EINTR};
    return std::find(kTransient.begin(), kTransient.end(), error_number) != kTransient.end();
}

WorkerResult result_of(const repack::InPlaceResult& result, const api::WorkerOrder& order) {
    switch (result.outcome) {
        case repack::InPlaceOutcome::done:
            return {WorkerOutcome::done, "", result.size_before, result.size_after, {}, result.notice};
        case repack::InPlaceOutcome::lingering:
            return {WorkerOutcome::lingering,
                    "canonical; the old file is kept for a while, for restores that run on other nodes",
                    result.size_before,
                    result.size_after,
                    order.linger_seconds,
                    result.notice};
        case repack::InPlaceOutcome::unchanged:
            return {WorkerOutcome::unchanged, "", result.size_before, result.size_after};
        case repack::InPlaceOutcome::vanished:
            return {WorkerOutcome::vanished, "the archive was removed"};
        case repack::InPlaceOutcome::changed:
            return {WorkerOutcome::transient, "the archive was changed while it was repacked"};
        case repack::InPlaceOutcome::busy:
            return {WorkerOutcome::busy, "another process works on the archive"};
        case repack::InPlaceOutcome::too_young:
            return {WorkerOutcome::busy,
                    "modified less than a minute ago: it may still be written",
                    {},
                    {},
                    result.ready_in_seconds};
    }
    return {WorkerOutcome::failed, "unknown outcome"};
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

WorkerResult settled(WorkerResult result) {
    result.settled = true;
    return result;
}

/// Nothing when the archive is to be repacked anew.
std::optional<WorkerResult> settle(io::FileSystem& fs, const api::Job& job,
                                   const repack::InPlaceOptions& options) {
    const auto record = job.publication.get<publish::RecoveryRecord>();
    const auto settlement = repack::settle_in_place(fs, job.path, options, record);
    if (!settlement) return WorkerResult{WorkerOutcome::busy, "another process works on the archive"};
    switch (*settlement) {
        case publish::RecoveryOutcome::published:
            return settled(
                {WorkerOutcome::done, "", record.original.mark.size_bytes, record.replacement.size_bytes});
        case publish::RecoveryOutcome::vanished:
            require_storage(fs, job);
            return settled({WorkerOutcome::vanished, "the archive was removed"});
        case publish::RecoveryOutcome::not_published:
        case publish::RecoveryOutcome::changed:
            return std::nullopt;
    }
    return std::nullopt;
}

WorkerResult settle_and_repack(io::FileSystem& fs, const api::WorkerOrder& order,
                               const repack::InPlaceOptions& options) {
    const auto& job = order.job;
    require_storage(fs, job);
    if (!job.publication.is_null())
        if (auto result = settle(fs, job, options)) return *result;
    if (order.settle_only) return settled({WorkerOutcome::failed, job.reason});
    auto result = result_of(repack::repack_in_place(fs, job.path, options), order);
    // It may have been unmounted in between.
    if (result.outcome == WorkerOutcome::vanished) require_storage(fs, job);
    // After "changed" the temporary file may be there still.
    const bool leaves =
        result.outcome == WorkerOutcome::lingering || result.outcome == WorkerOutcome::transient;
    return leaves ? result : settled(std::move(result));
}

/// What the exception in flight means for the job.
WorkerResult result_of_failure() {
    try {
        throw;
    } catch (const base::Cancelled&) {
        return {WorkerOutcome::cancelled, ""};
    } catch (const io::NoSpace& error) {
        return {WorkerOutcome::no_space, error.what()};
    } catch (const publish::StorageMissing& error) {
        return {WorkerOutcome::no_storage, error.what()};
    } catch (const base::SystemError& error) {
        const bool transient = is_transient(error.number());
        return {transient ? WorkerOutcome::transient : WorkerOutcome::failed, error.what()};
    } catch (const base::Error& error) {
        return {WorkerOutcome::failed, error.what()};
    } catch (const std::system_error& error) {
        return {WorkerOutcome::transient, fmt::format("no thread can be started: {}", error.what())};
    } catch (const std::bad_alloc&) {
        return {WorkerOutcome::transient, "out of memory"};
    }
}

}  // namespace

WorkerResult run_job(io::FileSystem& fs, const api::WorkerOrder& order, const base::CancelFlag& cancel,
                     const JobReports& reports) {
    ProgressMeter meter;
    repack::InPlaceOptions options;
    options.repack.task.threads = order.threads != 0 ? order.threads : access::default_threads();
    options.repack.memory_bytes = order.memory_bytes;
    options.repack.spill.directory = order.spill_dir;
    options.repack.zstd_level = order.zstd_level;
    options.repack.task.cancel = &cancel;
    options.repack.task.progress = [&](const base::Progress& progress) {
        if (const auto report = meter.update(progress, ProgressMeter::Clock::now()))
            reports.progress(*report);
    };
    options.source_cache = io::CacheUse::drop_behind;
    options.directories = order.directories;
    options.announced = order.job.announced;
    options.lock_directory = order.state_dir + "/locks";
    options.reserve_bytes = order.reserve_bytes;
    options.linger = order.linger_seconds > 0;
    auto job = order.job;
    options.journal = [&](const publish::RecoveryRecord& record) {
        reports.record(record);
        job.publication = record;
    };
    WorkerResult result;
    try {
        result = settle_and_repack(fs, order, options);
    } catch (...) {
        result = result_of_failure();
    }
    // The next run would settle it, but a job that has failed has none.
    const bool over = result.settled || result.outcome == WorkerOutcome::lingering;
    if (over || job.publication.is_null()) return result;
    try {
        const auto now = settle(fs, job, options);
        if (!now) return settled(std::move(result));
        if (now->settled) return *now;
    } catch (const base::Error&) {
        // The record stays with the job; what went wrong first is what to report.
    }
    return result;
}

}  // namespace vmad::worker
