#include "worker/new_since.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <map>

#include "access/archive_comparison.hpp"
#include "access/disk_reader.hpp"
#include "canon/layout.hpp"
#include "codec/archive_format.hpp"
#include "guest/confined_partitions.hpp"
#include "publish/archive_target.hpp"
#include "pve/backup_name.hpp"
#include "repack/backup_before.hpp"

namespace vmad::worker {
namespace {

/// Changed regions that are no farther apart are neighbours: a group, 16 MiB.
constexpr std::uint32_t kNeighbourRegions = canon::kExtentsPerGroup;

/// Finds the stretch of a disk that the most new bytes are in.
class Stretches {
  public:
    /// Regions come ascending.
    void add(std::uint32_t region, std::uint64_t new_bytes) {
        if (!is_open_ || region - last_ > kNeighbourRegions) {
            close();
            first_ = region;
            is_open_ = true;
        }
        last_ = region;
        new_bytes_ += new_bytes;
    }

    [[nodiscard]] std::optional<api::NewStretch> largest(std::uint64_t disk_bytes) {
        close();
        if (largest_) largest_->bytes = std::min(largest_->bytes, disk_bytes - largest_->offset);
        return largest_;
    }

  private:
    void close() {
        if (is_open_ && (!largest_ || new_bytes_ > largest_->new_bytes))
            largest_ = {.offset = first_ * std::uint64_t{canon::kRegionBytes},
                        .bytes = (last_ - first_ + std::uint64_t{1}) * canon::kRegionBytes,
                        .new_bytes = new_bytes_};
        is_open_ = false;
        new_bytes_ = 0;
    }

    std::uint32_t first_ = 0;
    std::uint32_t last_ = 0;
    std::uint64_t new_bytes_ = 0;
    bool is_open_ = false;
    std::optional<api::NewStretch> largest_;
};

/// Disk by disk, without partitions.
std::vector<api::DiskGrowth> growth_of(const std::vector<access::DiskChecksums>& before,
                                       const std::vector<access::DiskChecksums>& after) {
    std::map<std::string, Stretches> stretches;
    access::ComparisonOptions options;
    options.found = [&](const std::string& disk, std::uint32_t region, std::uint64_t bytes) {
        stretches[disk].add(region, bytes);
    };
    std::vector<api::DiskGrowth> disks;
    for (const auto& disk : access::compare_checksums(before, after, options))
        if (disk.after_bytes)
            disks.push_back({.disk = disk.name,
                             .bytes = *disk.after_bytes,
                             .new_bytes = disk.new_stored_bytes,
                             .largest = stretches[disk.name].largest(*disk.after_bytes)});
    return disks;
}

/// For reads of the disks of an archive; null for one in which they can only be read from its start.
std::unique_ptr<access::ArchiveIndex> index_of(io::FileSystem& fs, const io::File& archive,
                                               const std::vector<access::DiskChecksums>& checksums,
                                               const base::CancelFlag& cancel) {
    base::TaskOptions task;
    task.cancel = &cancel;
    switch (codec::format_of_file(fs, archive)) {
        case codec::ArchiveFormat::raw:
            return access::ArchiveIndex::of_known(fs, archive, checksums);
        case codec::ArchiveFormat::zstd:
            return access::ArchiveIndex::read(fs, archive, task);
        case codec::ArchiveFormat::gzip:
        case codec::ArchiveFormat::lzo:
            return nullptr;
    }
    __builtin_unreachable();
}

void name_partitions(io::FileSystem& fs, const io::File& archive,
                     const std::vector<access::DiskChecksums>& checksums, std::vector<api::DiskGrowth>& disks,
                     const base::CancelFlag& cancel) {
    const auto index = index_of(fs, archive, checksums, cancel);
    if (!index) return;
    access::DiskReader reader(*index, {.memory_bytes = std::uint64_t{16} << 20, .read_ahead = 1});
    std::vector<guest::DiskPlace> places;
    std::vector<api::NewStretch*> stretches;
    for (auto& disk : disks)
        for (const auto& device : index->header().devices) {
            if (device.name != disk.disk || !disk.largest) continue;
            // The first partition begins within a region.
            const auto offset = disk.largest->offset + canon::kRegionBytes;
            places.push_back(
                {.disk_bytes = device.size_bytes,
                 .read = [&reader, id = device.id](auto at, auto into) { reader.read_at(id, at, into); },
                 .offset = std::min<std::uint64_t>(offset, device.size_bytes) - 1});
            stretches.push_back(&*disk.largest);
        }
    auto names = guest::name_partitions(places, {.files = {archive.fd()}}, cancel);
    for (std::size_t i = 0; i < names.size(); ++i) stretches[i]->partition = std::move(names[i]);
}

/// The disks that are reported: those with the most new bytes, in their order.
void keep_largest(std::vector<api::DiskGrowth>& disks) {
    while (disks.size() > api::kMaxDiskGrowths)
        disks.erase(std::min_element(disks.begin(), disks.end(),
                                     [](const auto& a, const auto& b) { return a.new_bytes < b.new_bytes; }));
}

}  // namespace

std::optional<api::NewSince> new_since(io::FileSystem& fs, const std::string& path,
                                       const NewSinceOptions& options, const base::CancelFlag& cancel) {
    const auto entry = publish::open_entry(fs, path, options.directories);
    const auto archive = fs.open_at(entry.directory, entry.name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    if (!S_ISREG(fs.status(archive).st_mode)) return std::nullopt;
    const auto after = access::checksums_of(fs, archive, &options.store, cancel);
    if (!after) return std::nullopt;
    const auto before = repack::find_backup_before(
        fs, entry.directory, entry.name, {.store = &options.store, .may_read_bytes = options.may_read_bytes},
        cancel);
    if (!before) return std::nullopt;
    api::NewSince since{.archive = before->name,
                        .archive_at = pve::backup_time_of(before->name).value_or(0),
                        .disks = growth_of(before->checksums, *after)};
    for (const auto& disk : since.disks) since.new_bytes += disk.new_bytes;
    keep_largest(since.disks);
    if (options.may_read_bytes > 0) name_partitions(fs, archive, *after, since.disks, cancel);
    return since;
}

}  // namespace vmad::worker
