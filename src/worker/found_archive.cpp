#include "worker/found_archive.hpp"

#include <fcntl.h>

#include <ctime>

#include "base/error.hpp"
#include "publish/archive_target.hpp"
#include "publish/file_identity.hpp"
#include "pve/backup_name.hpp"
#include "verify/published_digest.hpp"

namespace vmad::worker {
namespace {

using api::ArchiveRecord;
using api::JobState;
using api::Verdict;
using api::WorkerResult;

/// What the archive itself says that it was published with.
void take_attribute(io::FileSystem& fs, const io::File& file, ArchiveRecord& record) {
    const auto published = verify::published_digest(fs, file);
    if (!published) return;
    record.digest = published->digest;
    record.device_digests = published->devices;
}

/// Canonical, and verified by the run that wrote it.
void add_published(io::FileSystem& fs, const io::File& file, const std::optional<ArchiveRecord>& written,
                   ArchiveRecord& record) {
    const auto now = std::time(nullptr);
    const bool is_written = written && !written->digest.empty();
    // A run that only ends the grace period, or recovers, publishes nothing anew.
    for (auto* time : {&record.repacked_at, &record.verified_at, &record.looked_at})
        if (is_written || !*time) *time = now;
    record.verdict = Verdict::good;
    record.fault.clear();
    if (is_written) {
        record.digest = written->digest;
        record.device_digests = written->device_digests;
    } else if (record.digest.empty()) {
        take_attribute(fs, file, record);
    }
}

}  // namespace

ArchiveRecord record_of(const api::WorkerOrder& order, const struct stat& status) {
    const auto size = static_cast<std::uint64_t>(status.st_size);
    const auto modified = publish::nanoseconds(status.st_mtim);
    const auto& known = order.known;
    const bool is_same = known && known->size_bytes == size && known->modified_ns == modified;
    auto record = is_same ? *known : ArchiveRecord{};
    if (known && !is_same) {
        record.storage = known->storage;
        record.guest = known->guest;
    }
    record.path = order.job.path;
    record.vmid = order.job.vmid;
    record.backup_at = pve::backup_time_of(record.path).value_or(status.st_mtim.tv_sec);
    record.size_bytes = size;
    record.modified_ns = modified;
    return record;
}

std::optional<ArchiveRecord> record_after_repack(io::FileSystem& fs, const api::WorkerOrder& order,
                                                 const WorkerResult& result) try {
    const bool is_published =
        result.state == JobState::done || result.waiting_for == api::WaitReason::grace_period;
    const bool is_damaged = result.state == JobState::failed && result.damaged;
    if (!is_published && !is_damaged && result.state != JobState::unchanged) return std::nullopt;
    const auto entry = publish::open_entry(fs, order.job.path, order.directories);
    const auto file = fs.open_at(entry.directory, entry.name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    auto record = record_of(order, fs.status(file));
    // Somebody may have replaced it since.
    if (is_published && record.size_bytes == result.size_after) {
        add_published(fs, file, result.record, record);
    } else if (is_damaged) {
        record.looked_at = std::time(nullptr);
        record.verdict = Verdict::damaged;
        record.fault = result.reason;
        if (record.digest.empty()) take_attribute(fs, file, record);
    } else if (record.digest.empty()) {
        take_attribute(fs, file, record);
    }
    return record;
} catch (const base::Error&) {
    return std::nullopt;
}

std::optional<ArchiveRecord> record_after_failed_look(io::FileSystem& fs, const api::WorkerOrder& order,
                                                      const WorkerResult& result) try {
    if (result.state != JobState::failed && result.waiting_for != api::WaitReason::retry) return std::nullopt;
    const auto entry = publish::open_entry(fs, order.job.path, order.directories);
    const auto status = fs.status_at(entry.directory, entry.name);
    if (!status || !S_ISREG(status->st_mode)) return std::nullopt;
    auto record = record_of(order, *status);
    record.looked_at = std::time(nullptr);
    return record;
} catch (const base::Error&) {
    return std::nullopt;
}

}  // namespace vmad::worker
