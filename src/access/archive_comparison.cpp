#include "access/archive_comparison.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <mutex>
#include <thread>

#include "base/threads.hpp"
#include "canon/sealed_extent.hpp"

namespace vmad::access {
namespace {

constexpr std::uint64_t kRegionBytes = canon::kRegionBytes;
constexpr unsigned kBlocksPerRegion = kRegionBytes / vma::kBlockSize;

/// How many bytes of a region lie on the disk.
std::uint64_t bytes_on_disk(const vma::Device& device, std::uint32_t region) {
    const auto offset = region * kRegionBytes;
    return offset < device.size_bytes ? std::min(kRegionBytes, device.size_bytes - offset) : 0;
}

/// A disk of both archives; null where one does not have it.
struct DiskPair {
    const vma::Device* before = nullptr;
    const vma::Device* after = nullptr;

    [[nodiscard]] const std::string& name() const { return (after != nullptr ? after : before)->name; }
    [[nodiscard]] std::uint64_t bytes() const {
        return std::max(before != nullptr ? before->size_bytes : 0, after != nullptr ? after->size_bytes : 0);
    }
};

std::vector<DiskPair> pairs_of(const std::vector<vma::Device>& before,
                               const std::vector<vma::Device>& after) {
    const auto find = [](const std::vector<vma::Device>& devices, const std::string& name) {
        const auto found = std::find_if(devices.begin(), devices.end(),
                                        [&](const vma::Device& device) { return device.name == name; });
        return found == devices.end() ? nullptr : &*found;
    };
    std::vector<DiskPair> pairs;
    for (const auto& device : after) pairs.push_back({find(before, device.name), &device});
    for (const auto& device : before)
        if (find(after, device.name) == nullptr) pairs.push_back({&device, nullptr});
    return pairs;
}

/// What came out for a region of a disk.
struct RegionChange {
    std::uint32_t region = 0;
    Change change = Change::equal;
    std::uint64_t content_bytes = 0;
    std::uint64_t stored_bytes = 0;  ///< in the file of the newer archive
};

/// The comparison of one disk, region by region in ascending order.
class DiskResult {
  public:
    enum class Counted { regions, blocks };
    /// Says which of them the parts are to count.
    DiskResult(const DiskPair& disk, const ComparisonOptions& options, Counted counted)
        : disk_bytes_(disk.bytes()), found_(options.found) {
        if (counted == Counted::blocks) result_.blocks.emplace();
        result_.name = disk.name();
        if (disk.before != nullptr) result_.before_bytes = disk.before->size_bytes;
        if (disk.after != nullptr) result_.after_bytes = disk.after->size_bytes;
        if (options.parts) result_.parts = options.parts(disk.name());
    }

    void add(const RegionChange& region) {
        result_.content[region.change] += region.content_bytes;
        if (region.change == Change::changed || region.change == Change::added) {
            result_.new_stored_bytes += region.stored_bytes;
            if (found_) found_(result_.name, region.region, region.stored_bytes);
        }
        const auto offset = region.region * kRegionBytes;
        const auto bytes = std::min(kRegionBytes, disk_bytes_ - offset);
        extend({offset, bytes, region.change});
        if (!result_.blocks) count_in_parts({offset, bytes, region.change}, region.content_bytes);
    }
    /// Blocks that follow each other, in any order.
    void add_blocks(const ComparedRange& blocks) {
        (*result_.blocks)[blocks.change] += blocks.bytes;
        count_in_parts(blocks, blocks.bytes);
    }

    [[nodiscard]] DiskComparison take() { return std::move(result_); }

  private:
    void extend(const ComparedRange& range) {
        auto& ranges = result_.ranges;
        if (!ranges.empty() && ranges.back().change == range.change &&
            ranges.back().offset + ranges.back().bytes == range.offset)
            ranges.back().bytes += range.bytes;
        else
            ranges.push_back(range);
    }

    void count_in_parts(const ComparedRange& range, std::uint64_t content_bytes) {
        for (auto& part : result_.parts) {
            const auto begin = std::max(part.offset, range.offset);
            const auto end = std::min(part.offset + part.bytes, range.offset + range.bytes);
            if (begin < end) part.content[range.change] += std::min(end - begin, content_bytes);
        }
    }

    std::uint64_t disk_bytes_;
    const std::function<void(const std::string&, std::uint32_t, std::uint64_t)>& found_;
    DiskComparison result_;
};

// ---- by checksums ----

/// Calls `visit` for each region that either list has, with its entry in each; ascending.
template <typename Visit>
void for_each_region(const std::vector<RegionChecksum>& before, const std::vector<RegionChecksum>& after,
                     const Visit& visit) {
    auto old = before.begin();
    auto now = after.begin();
    while (old != before.end() || now != after.end()) {
        const bool has_old = old != before.end() && (now == after.end() || old->region <= now->region);
        const bool has_now = now != after.end() && (old == before.end() || now->region <= old->region);
        visit(has_old ? &*old : nullptr, has_now ? &*now : nullptr);
        old += has_old;
        now += has_now;
    }
}

class ChecksumComparison {
  public:
    ChecksumComparison(const DiskPair& disk, const ComparisonOptions& options)
        : disk_(disk), options_(options) {}

    DiskComparison run(const std::vector<RegionChecksum>& before, const std::vector<RegionChecksum>& after) {
        DiskResult result(disk_, options_, DiskResult::Counted::regions);
        for_each_region(before, after, [&](const RegionChecksum* old, const RegionChecksum* now) {
            if (now == nullptr)
                result.add({old->region, Change::discarded, old->content_bytes, 0});
            else
                result.add({now->region, change_of(old, *now), now->content_bytes, now->stored_bytes});
        });
        return result.take();
    }

  private:
    Change change_of(const RegionChecksum* old, const RegionChecksum& now) const {
        if (old == nullptr) return Change::added;
        return is_same(*old, now) ? Change::equal : Change::changed;
    }

    bool is_same(const RegionChecksum& old, const RegionChecksum& now) const {
        if (old.content_bytes != now.content_bytes) return false;
        // The frame also holds the device's id and as many clusters as lie on the disk.
        if (disk_.before->id == disk_.after->id &&
            bytes_on_disk(*disk_.before, now.region) == bytes_on_disk(*disk_.after, now.region))
            return old.checksum == now.checksum;
        return options_.is_same && options_.is_same(*disk_.before, *disk_.after, now.region);
    }

    const DiskPair& disk_;
    const ComparisonOptions& options_;
};

// ---- by content ----

/// The blocks of a region as a restore has them.
class RegionBlocks {
  public:
    /// Of a region that is not stored, or does not lie on the disk, when there is no device.
    RegionBlocks(const ArchiveIndex& index, const vma::Device* device, std::uint32_t region) {
        if (device == nullptr || (bytes_ = bytes_on_disk(*device, region)) == 0) return;
        region_ = index.load({device->id, region});
        const auto whole = static_cast<unsigned>(bytes_ / vma::kBlockSize);
        if (const auto* cut = bytes_ % vma::kBlockSize != 0 ? stored(whole) : nullptr; cut != nullptr)
            std::memcpy(cut_block_.data(), cut, bytes_ % vma::kBlockSize);
    }

    /// Null for zeros.
    [[nodiscard]] const std::byte* block(unsigned number) const {
        const auto begin = std::uint64_t{number} * vma::kBlockSize;
        if (begin >= bytes_) return nullptr;
        const auto* bytes = stored(number);
        if (bytes != nullptr && bytes_ - begin < vma::kBlockSize) bytes = cut_block_.data();
        return bytes == nullptr || canon::is_zero_block(bytes) ? nullptr : bytes;
    }

  private:
    [[nodiscard]] const std::byte* stored(unsigned number) const {
        return region_ ? region_->block(number) : nullptr;
    }

    std::uint64_t bytes_ = 0;
    std::optional<Region> region_;
    std::array<std::byte, vma::kBlockSize> cut_block_{};  ///< the one that the end of the disk cuts
};

struct BothBlocks {
    RegionBlocks before, after;
};

BothBlocks load(const ArchiveIndex& before, const ArchiveIndex& after, const DiskPair& disk,
                std::uint32_t region) {
    const auto from = [&](const ArchiveIndex& index, const vma::Device* device) {
        try {
            return RegionBlocks(index, device, region);
        } catch (const DamagedRegion& damage) {
            throw DamagedSide(damage, &index == &after);
        }
    };
    return {from(before, disk.before), from(after, disk.after)};
}

/// Nothing when both are zero.
std::optional<Change> change_of(const std::byte* before, const std::byte* after) {
    if (before == nullptr && after == nullptr) return std::nullopt;
    if (before == nullptr) return Change::added;
    if (after == nullptr) return Change::discarded;
    return std::memcmp(before, after, vma::kBlockSize) == 0 ? Change::equal : Change::changed;
}

/// What came out for the blocks of a region.
struct BlockChanges {
    std::vector<ComparedRange> runs;
    ContentBytes content;  ///< what differs in whole blocks
    std::uint64_t before_bytes = 0;
    std::uint64_t after_bytes = 0;

    /// Nothing when the region is zero in both.
    [[nodiscard]] std::optional<Change> change() const {
        if (before_bytes == 0 && after_bytes == 0) return std::nullopt;
        if (before_bytes == 0) return Change::added;
        if (after_bytes == 0) return Change::discarded;
        return content.differing() == 0 ? Change::equal : Change::changed;
    }
};

BlockChanges compare_blocks(const BothBlocks& both, std::uint64_t offset) {
    BlockChanges changes;
    for (unsigned i = 0; i < kBlocksPerRegion; ++i, offset += vma::kBlockSize) {
        const auto* old = both.before.block(i);
        const auto* now = both.after.block(i);
        const auto change = change_of(old, now);
        changes.before_bytes += old != nullptr ? vma::kBlockSize : 0;
        changes.after_bytes += now != nullptr ? vma::kBlockSize : 0;
        if (!change) continue;
        changes.content[*change] += vma::kBlockSize;
        auto& runs = changes.runs;
        if (!runs.empty() && runs.back().change == *change &&
            runs.back().offset + runs.back().bytes == offset)
            runs.back().bytes += vma::kBlockSize;
        else
            runs.push_back({offset, vma::kBlockSize, *change});
    }
    return changes;
}

/// Compares the disks one after the other, the regions of each in several threads.
class ContentComparison {
  public:
    ContentComparison(const ArchiveIndex& before, const ArchiveIndex& after, const base::TaskOptions& task)
        : before_(before), after_(after), task_(task) {
        for (const auto* index : {&before, &after})
            for (const auto& device : index->header().devices)
                for (const auto region : index->stored_regions(device.id))
                    progress_.total_bytes += index->stored_bytes({device.id, region});
    }

    DiskComparison run(const DiskPair& disk, const ComparisonOptions& options) {
        DiskResult result(disk, options, DiskResult::Counted::blocks);
        const auto regions = stored_regions(disk);
        std::vector<std::optional<RegionChange>> changes(regions.size());
        in_threads(regions.size(), [&](std::size_t i) { changes[i] = compare(disk, regions[i], result); });
        for (const auto& change : changes)
            if (change) result.add(*change);
        return result.take();
    }

    void report_end() const { task_.report_end(base::Stage::verifying, progress_.total_bytes); }

  private:
    [[nodiscard]] std::vector<std::uint32_t> stored_regions(const DiskPair& disk) const {
        std::vector<std::uint32_t> regions;
        if (disk.before != nullptr) regions = before_.stored_regions(disk.before->id);
        if (disk.after == nullptr) return regions;
        const auto after = after_.stored_regions(disk.after->id);
        std::vector<std::uint32_t> both;
        std::set_union(regions.begin(), regions.end(), after.begin(), after.end(), std::back_inserter(both));
        return both;
    }

    void in_threads(std::size_t count, const std::function<void(std::size_t)>& work) {
        base::FirstError error;
        std::atomic<std::size_t> next{0};
        const auto work_on_all = [&] {
            try {
                for (auto i = next++; i < count && !error.any(); i = next++) {
                    task_.cancel_flag().check();
                    work(i);
                }
            } catch (...) {
                error.capture();
            }
        };
        {
            std::vector<std::jthread> threads;
            for (unsigned i = 1; i < task_.threads; ++i) threads.emplace_back(work_on_all);
            work_on_all();
        }
        error.rethrow();
    }

    std::optional<RegionChange> compare(const DiskPair& disk, std::uint32_t region, DiskResult& result) {
        const auto blocks = compare_blocks(load(before_, after_, disk, region), region * kRegionBytes);
        const auto change = blocks.change();
        const auto stored = disk.after == nullptr ? 0 : after_.stored_bytes({disk.after->id, region});
        const auto was_stored = disk.before == nullptr ? 0 : before_.stored_bytes({disk.before->id, region});
        const std::lock_guard lock(mutex_);
        for (const auto& run : blocks.runs) result.add_blocks(run);
        progress_.done_bytes += stored + was_stored;
        task_.report(base::Stage::verifying, progress_);
        if (!change) return std::nullopt;
        const auto content = *change == Change::discarded ? blocks.before_bytes : blocks.after_bytes;
        return RegionChange{region, *change, content, stored};
    }

    const ArchiveIndex& before_;
    const ArchiveIndex& after_;
    const base::TaskOptions& task_;
    std::mutex mutex_;
    base::Progress progress_;
};

}  // namespace

std::vector<DiskComparison> compare_checksums(const std::vector<DiskChecksums>& before,
                                              const std::vector<DiskChecksums>& after,
                                              const ComparisonOptions& options) {
    static const std::vector<RegionChecksum> kNone;
    const auto devices = [](const std::vector<DiskChecksums>& disks) {
        std::vector<vma::Device> all;
        for (const auto& disk : disks) all.push_back(disk.device);
        return all;
    };
    const auto regions = [](const std::vector<DiskChecksums>& disks, const vma::Device* device) -> auto& {
        const auto is_it = [&](const DiskChecksums& disk) { return disk.device == *device; };
        return device == nullptr ? kNone : std::find_if(disks.begin(), disks.end(), is_it)->regions;
    };
    const auto old_devices = devices(before);
    const auto new_devices = devices(after);
    std::vector<DiskComparison> result;
    for (const auto& disk : pairs_of(old_devices, new_devices))
        result.push_back(
            ChecksumComparison(disk, options).run(regions(before, disk.before), regions(after, disk.after)));
    return result;
}

std::vector<DiskComparison> compare_content(const ArchiveIndex& before, const ArchiveIndex& after,
                                            const ComparisonOptions& options, const base::TaskOptions& task) {
    ContentComparison comparison(before, after, task);
    std::vector<DiskComparison> result;
    for (const auto& disk : pairs_of(before.header().devices, after.header().devices))
        result.push_back(comparison.run(disk, options));
    comparison.report_end();
    return result;
}

bool is_same_region(const ArchiveIndex& before, const vma::Device& before_device, const ArchiveIndex& after,
                    const vma::Device& after_device, std::uint32_t region) {
    return compare_blocks(load(before, after, {&before_device, &after_device}, region), 0)
               .content.differing() == 0;
}

}  // namespace vmad::access
