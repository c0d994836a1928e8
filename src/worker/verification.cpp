#include "worker/verification.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <ctime>
#include <mutex>

#include <fmt/format.h>

#include "base/text.hpp"
#include "canon/sealed_extent.hpp"
#include "io/storage.hpp"
#include "publish/archive_target.hpp"
#include "publish/archive_writer.hpp"
#include "publish/inode_lock.hpp"
#include "repack/partition_names.hpp"
#include "verify/archive_look.hpp"
#include "worker/found_archive.hpp"
#include "worker/job_results.hpp"

namespace vmad::worker {
namespace {

using api::JobState;
using api::WaitReason;
using api::WorkerResult;

std::optional<verify::RecordedDigest> recorded_digest(const std::optional<api::ArchiveRecord>& known) {
    if (!known) return std::nullopt;
    return verify::recorded_digest(known->digest, known->device_digests, known->size_bytes,
                                   known->modified_ns, known->repacked_at.has_value());
}

/// Gathers the checksums of an archive that has no seek table while it is read.
class FoundChecksums {
  public:
    /// Nothing is gathered of an archive that has them already, or is not canonical.
    FoundChecksums(io::FileSystem& fs, const io::File& file, const access::ChecksumStore& store,
                   const base::CancelFlag& cancel)
        : recording_(fs, store) {
        const auto format = verify::likely_format(fs, file);
        is_raw_ = format == codec::ArchiveFormat::raw;
        if (format == codec::ArchiveFormat::zstd || access::checksums_of(fs, file, &store, cancel)) return;
        const auto header = verify::canonical_header(fs, file, format);
        if (!header) return;
        recording_.begin(header->devices);
        is_wanted_ = true;
    }
    [[nodiscard]] bool is_wanted() const noexcept { return is_wanted_; }

    /// Any thread.
    void add(const vma::Extent& extent) {
        const auto bytes = extent.header.payload_bytes();
        if (bytes == 0) return;
        const std::array<iovec, 2> slices{io::const_slice(extent.raw_header),
                                          iovec{extent.payload->data(), bytes}};
        access::RegionChecksum region{
            .region = extent.header.slots.front().cluster / canon::kClustersPerRegion,
            .content_bytes = static_cast<std::uint32_t>(bytes),
            .checksum = canon::extent_checksum(slices)};
        if (is_raw_) {
            region.stored_bytes = static_cast<std::uint32_t>(vma::kExtentHeaderSize + bytes);
            region.stored_offset = extent.offset;
        }
        const std::lock_guard lock(mutex_);
        recording_.add(extent.header.slots.front().device_id, region);
    }
    void finish(const io::File& file) {
        if (is_wanted_) recording_.finish(file);
    }

  private:
    std::mutex mutex_;
    access::ChecksumRecording recording_;
    bool is_wanted_ = false;
    bool is_raw_ = false;
};

/// What the catalogue is to know of the file as it is.
api::ArchiveRecord record_of_look(const api::WorkerOrder& order, const struct stat& status) {
    auto record = record_of(order, status);
    record.looked_at = std::time(nullptr);
    return record;
}

/// Those of the first damaged places, with the partitions that they are in.
std::vector<api::DamagedPlace> damaged_places(io::FileSystem& fs, const io::File& file,
                                              const verify::Damage& damage,
                                              const VerificationOptions& options) {
    std::vector<api::DamagedPlace> places;
    std::vector<repack::ArchivePlace> ends;
    for (const auto& stretch : damage.stretches) {
        if (places.size() == api::kMaxDamagedPlaces) break;
        places.push_back({stretch.disk, stretch.offset, stretch.bytes});
        ends.push_back(repack::place_for_partition(stretch));
    }
    const auto names = repack::partition_names(fs, file, ends, options.store, options.task.cancel_flag());
    for (std::size_t i = 0; i < places.size(); ++i) places[i].partition = names[i];
    return places;
}

std::string fault_text(const std::exception_ptr& fault) {
    try {
        std::rethrow_exception(fault);
    } catch (const base::InvalidArchive& error) {
        return error.verdict();
    } catch (const base::Error& error) {
        return fmt::format("the storage cannot read a part of it any more: {}", error.what());
    }
}

bool is_io_error(const std::exception_ptr& fault) {
    try {
        std::rethrow_exception(fault);
    } catch (const base::SystemError&) {
        return true;
    } catch (const base::Error&) {
        return false;
    }
}

WorkerResult good(const api::WorkerOrder& order, const verify::ArchiveLook& look, const struct stat& status) {
    WorkerResult result{.state = JobState::done, .warning = look.survey->warning};
    base::append_sentence(result.warning, look.warning);
    auto record = record_of_look(order, status);
    record.digest = look.survey->digest.to_hex();
    record.device_digests.clear();
    for (const auto& [name, digest] : look.survey->device_digests)
        record.device_digests[name] = digest.to_hex();
    record.verified_at = record.looked_at;
    record.verdict = api::Verdict::good;
    record.fault.clear();
    result.record = std::move(record);
    return result;
}

WorkerResult damaged(io::FileSystem& fs, const api::WorkerOrder& order, const io::File& file,
                     const verify::ArchiveLook& look, const VerificationOptions& options) {
    WorkerResult result{.state = JobState::failed, .reason = fault_text(look.fault)};
    if (!look.damage.note.empty()) result.reason += fmt::format(" ({})", look.damage.note);
    base::append_sentence(result.warning, look.warning);
    result.damaged = true;
    result.damage = damaged_places(fs, file, look.damage, options);
    const auto status = fs.status(file);
    result.refused_file = publish::file_version(publish::identity_of(status));
    auto record = record_of_look(order, status);
    // The digest that the damaged file holds is of no use; the one that it should have is.
    const auto known = verify::known_digest(fs, file, recorded_digest(order.known));
    if (known.origin == verify::DigestOrigin::attribute) {
        record.digest = known.published->digest;
        record.device_digests = known.published->devices;
    }
    record.verdict = api::Verdict::damaged;
    record.fault = result.reason;
    result.record = std::move(record);
    return result;
}

/// Nothing when it is not there, or is removed at this moment.
std::optional<io::File> open_archive(io::FileSystem& fs, const publish::ArchiveEntry& entry,
                                     const std::string& path) try {
    const auto there = fs.status_at(entry.directory, entry.name);
    if (!there) return std::nullopt;
    if (!S_ISREG(there->st_mode)) throw base::Error(fmt::format("{} is no regular file", path));
    return fs.open_at(entry.directory, entry.name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
} catch (const base::SystemError& error) {
    if (error.number() != ENOENT) throw;
    return std::nullopt;
}

}  // namespace

WorkerResult verify_archive(io::FileSystem& fs, const api::WorkerOrder& order,
                            const VerificationOptions& options, std::string& version) {
    const auto entry = publish::open_entry(fs, order.job.path, order.directories);
    const auto there = open_archive(fs, entry, order.job.path);
    if (!there) return {.state = JobState::vanished};
    const auto& file = *there;
    const auto status = fs.status(file);
    const auto age = std::time(nullptr) - status.st_mtim.tv_sec;
    if (!order.job.announced && age >= 0 && age < publish::kMinimumAgeSeconds) {
        auto later =
            waits(WaitReason::too_recent, "modified less than a minute ago: it may still be written to");
        later.retry_after_seconds = publish::kMinimumAgeSeconds - age;
        return later;
    }
    const auto lock = publish::InodeLock::take(fs, order.state_dir + "/locks", publish::identity_of(status));
    if (!lock) return is_locked();
    version = publish::file_version(publish::identity_of(status));

    FoundChecksums checksums(fs, file, options.store, options.task.cancel_flag());
    verify::LookOptions look_options{.task = options.task, .recorded = recorded_digest(order.known)};
    look_options.expected = [&](const io::File& archive) {
        return access::checksums_of(fs, archive, &options.store, options.task.cancel_flag());
    };
    if (checksums.is_wanted())
        look_options.extent_read = [&](const vma::Extent& extent) { checksums.add(extent); };
    const auto look = verify::look_at_archive(fs, file, look_options);
    if (look.changed) return waits(WaitReason::retry, "the archive was changed while it was verified");
    const bool is_unreadable = look.fault && is_io_error(look.fault);  // which no writer brings about
    if (look.fault && !is_unreadable && publish::is_open_for_writing(fs, file))
        return waits(WaitReason::locked, "another process has the archive open for writing");
    // Of a server that does not answer; a disk of this node that cannot read a block will not do so later.
    if (is_unreadable && io::is_on_network(fs, entry.directory)) std::rethrow_exception(look.fault);
    auto result = look.fault ? damaged(fs, order, file, look, options) : good(order, look, fs.status(file));
    if (!look.fault && look.survey->deviation.empty()) checksums.finish(file);
    result.size_before = result.size_after = static_cast<std::uint64_t>(status.st_size);
    return result;
}

}  // namespace vmad::worker
