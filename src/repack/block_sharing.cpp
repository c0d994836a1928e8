#include "repack/block_sharing.hpp"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <vector>

#include "codec/zstd_form.hpp"
#include "io/byte_stream.hpp"
#include "io/storage.hpp"
#include "repack/common_runs.hpp"
#include "repack/device_map.hpp"

namespace vmad::repack {
namespace {

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
/// What btrfs takes in one call. The files are locked for as long as it is compared.
constexpr std::uint64_t kCallBytes = 16 * kMiB;
/// Shorter runs are not worth the pieces that they make of a file.
constexpr std::uint64_t kLeastRunBytes = std::uint64_t{64} << 10;
/// Runs are gathered for so much of the file. A stop waits for these: a part of them would not free a whole
/// extent.
constexpr std::uint64_t kBatchBytes = 32 * kMiB;
/// The largest extent of btrfs.
constexpr std::uint64_t kMostExtentBytes = 128 * kMiB;
/// Less than this part of an extent is not worth moving the rest.
constexpr std::uint64_t kLeastPart = 4;

/// The first refusal: others would follow.
struct Refused {
    int number;
};

struct Range {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    [[nodiscard]] std::uint64_t bytes() const noexcept { return end - begin; }
};

/// Removes from `runs` what lies in the range, in the newer file.
void cut_out(std::vector<CommonRun>& runs, const Range& range) {
    std::vector<CommonRun> left;
    for (const auto& run : runs) {
        const auto end = run.to + run.bytes;
        if (run.to < range.begin) left.push_back({run.from, run.to, std::min(end, range.begin) - run.to});
        if (end > range.end) {
            const auto begin = std::max(run.to, range.end);
            left.push_back({run.from + (begin - run.to), begin, end - begin});
        }
    }
    runs = std::move(left);
}

/// What of the range is in none of the runs.
std::vector<Range> rest_of(const Range& range, const std::vector<CommonRun>& runs) {
    std::vector<Range> rest;
    auto at = range.begin;
    for (const auto& run : runs) {
        if (run.to + run.bytes <= at) continue;
        if (run.to >= range.end) break;
        if (run.to > at) rest.push_back({at, run.to});
        at = run.to + run.bytes;
    }
    if (at < range.end) rest.push_back({at, range.end});
    return rest;
}

class Sharer {
  public:
    Sharer(io::FileSystem& fs, const io::File& directory, const io::File& older, const io::File& newer,
           const BlockSharingOptions& options)
        : fs_(fs),
          directory_(directory),
          older_(older),
          newer_(newer),
          options_(options),
          size_bytes_(static_cast<std::uint64_t>(fs.status(newer).st_size)),
          keeps_whole_extents_(io::keeps_whole_extents(fs, newer)) {}

    void add(const CommonRun& run) {
        if (!runs_.empty() && runs_.back().from + runs_.back().bytes == run.from &&
            runs_.back().to + runs_.back().bytes == run.to)
            runs_.back().bytes += run.bytes;
        else
            runs_.push_back(run);
        const auto end = run.to + run.bytes;
        if (end - batch_begin_ >= kBatchBytes) share_batch(end);
    }

    void finish() { share_batch(size_bytes_); }

    [[nodiscard]] std::uint64_t shared_bytes() const noexcept { return shared_bytes_; }

  private:
    void share_batch(std::uint64_t end) {
        runs_.erase(std::remove_if(runs_.begin(), runs_.end(),
                                   [](const CommonRun& run) { return run.bytes < kLeastRunBytes; }),
                    runs_.end());
        if (!options_.dry_run && keeps_whole_extents_) free_extents({batch_begin_, end});
        for (const auto& run : runs_) {
            shared_bytes_ += options_.dry_run ? run.bytes : share(older_, run);
            fs_.advise(older_, run.from, run.bytes, POSIX_FADV_DONTNEED);
        }
        fs_.advise(newer_, batch_begin_, end - batch_begin_, POSIX_FADV_DONTNEED);
        runs_.clear();
        batch_begin_ = end;
    }

    /// Returns how many bytes are shared now. Where the kernel finds a difference, in halves.
    std::uint64_t share(const io::File& from, const CommonRun& run) {
        std::uint64_t shared = 0;
        for (std::uint64_t done = 0; done < run.bytes;) {
            const CommonRun part{run.from + done, run.to + done, std::min(kCallBytes, run.bytes - done)};
            const auto result = fs_.share_range(from, part.from, newer_, part.to, part.bytes);
            if (result.refusal != 0) throw Refused{result.refusal};
            shared += result.differs ? share_halves(from, part) : std::min(result.bytes, part.bytes);
            done += result.differs || result.bytes == 0 ? part.bytes : result.bytes;
        }
        return shared;
    }

    std::uint64_t share_halves(const io::File& from, const CommonRun& run) {
        const auto half = run.bytes / 2 / codec::kPageBytes * codec::kPageBytes;
        if (half < kLeastRunBytes) return 0;
        return share(from, {run.from, run.to, half}) +
               share(from, {run.from + half, run.to + half, run.bytes - half});
    }

    /// An extent of which only a part is shared would take as much room as before. So the rest of it moves to
    /// a place of its own first: by sharing it with a copy, which changes nothing that anybody could see.
    void free_extents(const Range& batch) {
        if (runs_.empty() && batch.begin >= loose_until_) return;
        std::vector<Range> rest;
        DeviceMap map(fs_, newer_);
        for (auto at = batch.begin; at < batch.end;) {
            const auto* extent = map.find(at, batch.end);
            if (extent == nullptr) break;
            const auto extent_end = extent->offset + extent->bytes;
            const Range part{std::max(at, extent->offset), std::min(extent_end, batch.end)};
            if (!extent->is_shared && loosens(part)) append_rest(part, extent_end, rest);
            at = part.end;
        }
        move(rest);
    }

    /// Whether the extent of which this is a part is to be given back. If it is not worth that, nothing of it
    /// is shared.
    bool loosens(const Range& part) {
        std::uint64_t rest = 0;
        for (const auto& range : rest_of(part, runs_)) rest += range.bytes();
        const auto shared = part.bytes() - rest;
        if (part.begin < loose_until_ || shared >= part.bytes() / kLeastPart) return true;
        if (shared != 0) cut_out(runs_, part);
        return false;
    }

    void append_rest(const Range& part, std::uint64_t extent_end, std::vector<Range>& rest) {
        auto more = rest_of(part, runs_);
        // What follows in the next batch may be of the same extent.
        if (extent_end > part.end)
            loose_until_ = std::min(extent_end, std::max(loose_until_, part.begin) + kMostExtentBytes);
        rest.insert(rest.end(), more.begin(), more.end());
    }

    void move(const std::vector<Range>& ranges) {
        if (ranges.empty()) return;
        if (!copy_) copy_ = fs_.open_unnamed(directory_);
        if (!copy_) return;
        std::uint64_t bytes = 0;
        for (const auto& range : ranges) bytes += range.bytes();
        io::require_space(fs_, directory_, bytes,
                          options_.reserve_bytes.value_or(io::default_reserve(fs_, directory_)));
        std::vector<CommonRun> copies;
        std::uint64_t at = 0;
        for (const auto& range : ranges) {
            copies.push_back({at, range.begin, range.bytes()});
            copy(range, at);
            at += range.bytes();
        }
        // The kernel then compares what the device gives back.
        fs_.push_out(*copy_, 0, at, true);
        fs_.advise(*copy_, 0, at, POSIX_FADV_DONTNEED);
        for (const auto& run : copies) (void)share(*copy_, run);
        fs_.truncate(*copy_, 0);
    }

    void copy(const Range& range, std::uint64_t to) {
        buffer_.resize(kMiB);
        for (auto at = range.begin; at < range.end;) {
            const auto piece = std::span(buffer_).first(std::min(kMiB, range.end - at));
            const auto count = io::read_fully_at(fs_, newer_, piece, at);
            if (count == 0) return;
            std::array slices{io::const_slice(piece.first(count))};
            io::write_fully_at(fs_, *copy_, slices, to + (at - range.begin));
            at += count;
        }
    }

    io::FileSystem& fs_;
    const io::File& directory_;
    const io::File& older_;
    const io::File& newer_;
    const BlockSharingOptions& options_;
    std::uint64_t size_bytes_;
    bool keeps_whole_extents_;
    std::vector<CommonRun> runs_;    ///< of the batch
    std::uint64_t batch_begin_ = 0;  ///< in the newer file
    std::uint64_t loose_until_ = 0;  ///< up to here the newer file may lie in an extent that is given back
    std::optional<io::File> copy_;   ///< of what moves
    std::vector<std::byte> buffer_;
    std::uint64_t shared_bytes_ = 0;
};

/// What a recording of the same archive says of its regions. False when it is of other ones.
bool take_checksums(access::DiskChecksums& disk, const access::DiskChecksums& known) {
    if (disk.device.name != known.device.name || disk.regions.size() != known.regions.size()) return false;
    for (std::size_t i = 0; i < disk.regions.size(); ++i) {
        auto& region = disk.regions[i];
        if (region.region != known.regions[i].region ||
            region.content_bytes != known.regions[i].content_bytes)
            return false;
        region.checksum = known.regions[i].checksum;
    }
    return true;
}

bool take_checksums(access::StoredRegions& stored, const std::vector<access::DiskChecksums>& known) {
    return std::equal(
        stored.disks.begin(), stored.disks.end(), known.begin(), known.end(),
        [](access::DiskChecksums& disk, const auto& other) { return take_checksums(disk, other); });
}

std::optional<access::StoredRegions> stored_regions(io::FileSystem& fs, const io::File& file,
                                                    const BlockSharingOptions& options) {
    auto stored =
        access::read_stored_regions(fs, file, options.task.cancel_flag(), access::kMaxListedRegions);
    if (!stored || stored->has_checksums || options.store == nullptr) return stored;
    const auto known = options.store->find(fs, file);
    stored->has_checksums = known && take_checksums(*stored, *known);
    return stored;
}

bool is_same_file(io::FileSystem& fs, const io::File& a, const io::File& b) {
    const auto first = fs.status(a);
    const auto second = fs.status(b);
    return first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

}  // namespace

BlockSharingResult share_blocks(io::FileSystem& fs, const io::File& directory, const io::File& older,
                                const io::File& newer, const BlockSharingOptions& options) {
    if (!io::may_share_blocks(fs, newer)) return {.outcome = SharingOutcome::unavailable};
    const auto to = stored_regions(fs, newer, options);
    if (!to) return {.outcome = SharingOutcome::newer_unsuitable};
    if (is_same_file(fs, older, newer)) return {};
    const auto from = stored_regions(fs, older, options);
    if (!from) return {.outcome = SharingOutcome::older_unsuitable};
    if (from->format != to->format) return {.outcome = SharingOutcome::other_format};

    BlockSharingResult result;
    Sharer sharer(fs, directory, older, newer, options);
    CommonRuns runs(fs, older, newer, to->format, [&](const CommonRun& run) { sharer.add(run); });
    const auto size = static_cast<std::uint64_t>(fs.status(newer).st_size);
    try {
        for (const auto& pair : common_regions(*from, *to)) {
            options.task.cancel_flag().check();
            runs.add(pair);
            options.task.report(base::Stage::sharing, io::SourceProgress{std::min(pair.to, size), size});
        }
        runs.finish();
        sharer.finish();
    } catch (const Refused& refused) {
        result.outcome = SharingOutcome::unavailable;
        result.refusal = refused.number;
    }
    options.task.report_end(base::Stage::sharing, size);
    result.shared_bytes = sharer.shared_bytes();
    result.shared_before_bytes = runs.shared_before_bytes();
    return result;
}

}  // namespace vmad::repack
