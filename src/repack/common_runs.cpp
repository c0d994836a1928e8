#include "repack/common_runs.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>
#include <unordered_map>

#include "canon/layout.hpp"
#include "codec/zstd_form.hpp"

namespace vmad::repack {
namespace {

constexpr auto kPage = codec::kPageBytes;
/// Frames that hold the same may have fillings of different sizes behind them.
constexpr std::uint64_t kMostFilling = 2 * kPage;
/// More than a region takes, stored in any way: what a damaged table has beyond that is not read.
constexpr std::uint64_t kMostCompared = 2 * canon::kMaxRegionExtent;

/// Less of a compressed region is not worth reading the rest.
constexpr std::uint64_t kLeastPrefix = std::uint64_t{64} << 10;

constexpr std::uint64_t page_down(std::uint64_t offset) { return offset / kPage * kPage; }
constexpr std::uint64_t page_up(std::uint64_t offset) { return page_down(offset + kPage - 1); }

/// The whole pages of it.
CommonRun inner_pages(const CommonRun& range) {
    const auto to = page_up(range.to);
    const auto end = page_down(range.to + range.bytes);
    return {range.from + (to - range.to), to, end > to ? end - to : 0};
}

std::uint64_t difference(std::uint64_t a, std::uint64_t b) { return a > b ? a - b : b - a; }

bool is_equal(const access::RegionChecksum& a, const access::RegionChecksum& b) {
    return a.checksum == b.checksum && a.content_bytes == b.content_bytes;
}

void add_pairs(const access::DiskChecksums& older, const access::DiskChecksums& newer, bool has_checksums,
               std::vector<RegionPair>& pairs) {
    auto before = older.regions.begin();
    for (const auto& region : newer.regions) {
        while (before != older.regions.end() && before->region < region.region) ++before;
        if (before == older.regions.end()) return;
        if (before->region == region.region)
            pairs.push_back({before->stored_offset, before->stored_bytes, region.stored_offset,
                             region.stored_bytes, has_checksums && is_equal(*before, region)});
    }
}

}  // namespace

std::vector<RegionPair> common_regions(const access::StoredRegions& older,
                                       const access::StoredRegions& newer) {
    std::vector<RegionPair> pairs;
    if (older.format == codec::ArchiveFormat::raw)
        pairs.push_back({0, older.header_bytes, 0, newer.header_bytes, false});
    const bool has_checksums = older.has_checksums && newer.has_checksums;
    for (const auto& disk : newer.disks)
        for (const auto& other : older.disks)
            if (other.device.name == disk.device.name && other.device.id == disk.device.id)
                add_pairs(other, disk, has_checksums, pairs);
    std::sort(pairs.begin(), pairs.end(),
              [](const RegionPair& a, const RegionPair& b) { return a.to < b.to; });
    return pairs;
}

CommonRuns::CommonRuns(io::FileSystem& fs, const io::File& older, const io::File& newer,
                       codec::ArchiveFormat format, Sink found)
    : fs_(fs),
      older_(older),
      newer_(newer),
      is_compressed_(format != codec::ArchiveFormat::raw),
      found_(std::move(found)),
      older_map_(fs, older),
      newer_map_(fs, newer) {}

void CommonRuns::add(const RegionPair& pair) {
    const CommonRun range{pair.from, pair.to, std::min(pair.from_bytes, pair.to_bytes)};
    if (pair.from % kPage != pair.to % kPage) return;
    const auto inner = inner_pages(range);
    const auto shared = bytes_in_same_place(older_map_, inner.from, newer_map_, inner.to, inner.bytes);
    if (shared == 0) look_again();
    doubtful_.reset();
    if (shared != 0 && (shared == inner.bytes || !pair.is_equal)) {
        shared_before_bytes_ += shared;  // an earlier run has seen to it
        if (shared != inner.bytes) doubtful_ = pair;
        return;
    }
    if (!pair.is_equal) return compare(pair);
    // The same content in frames of other sizes was compressed by another level.
    if (difference(pair.from_bytes, pair.to_bytes) <= kMostFilling) add_equal(range);
}

void CommonRuns::finish() {
    look_again();
    close_range();
}

/// An earlier run shares in the order of the file: it may have ended in the middle of the last pair of which
/// anything is shared.
void CommonRuns::look_again() {
    if (!doubtful_) return;
    compare(*doubtful_);
    doubtful_.reset();
}

void CommonRuns::add_equal(const CommonRun& range) {
    if (range_.bytes != 0 && range_.from + range_.bytes == range.from &&
        range_.to + range_.bytes == range.to) {
        range_.bytes += range.bytes;
        return;
    }
    close_range();
    range_ = range;
}

/// Its ends may be in the middle of pages: these belong to it when they are the same as well.
void CommonRuns::close_range() {
    if (range_.bytes == 0) return;
    auto run = inner_pages(range_);
    const auto begin = page_down(range_.to);
    if (begin < run.to && begin >= given_to_ && is_same(run.from - kPage, begin, kPage)) {
        run.from -= kPage;
        run.to -= kPage;
        run.bytes += kPage;
    }
    const auto end = run.to + run.bytes;
    if (end < range_.to + range_.bytes && is_same(run.from + run.bytes, end, kPage)) run.bytes += kPage;
    range_ = {};
    give(run);
}

void CommonRuns::give(CommonRun run) {
    const auto again = std::min(run.bytes, given_to_ - std::min(given_to_, run.to));
    run = {run.from + again, run.to + again, run.bytes - again};
    if (run.bytes == 0) return;
    given_to_ = run.to + run.bytes;
    if (bytes_in_same_place(older_map_, run.from, newer_map_, run.to, run.bytes) == run.bytes) return;
    found_(run);
}

bool CommonRuns::is_same(std::uint64_t from, std::uint64_t to, std::size_t bytes) {
    std::vector<std::byte> older(bytes);
    std::vector<std::byte> newer(bytes);
    return io::read_fully_at(fs_, older_, older, from) == bytes &&
           io::read_fully_at(fs_, newer_, newer, to) == bytes && older == newer;
}

void CommonRuns::compare(const RegionPair& pair) {
    if (pair.from_bytes > kMostCompared || pair.to_bytes > kMostCompared) return;
    // Behind the first change, compressed bytes have nothing in common.
    if (is_compressed_ &&
        !is_same(pair.from, pair.to, std::min({pair.from_bytes, pair.to_bytes, kLeastPrefix})))
        return;
    older_bytes_.resize(pair.from_bytes);
    newer_bytes_.resize(pair.to_bytes);
    older_bytes_.resize(io::read_fully_at(fs_, older_, older_bytes_, pair.from));
    newer_bytes_.resize(io::read_fully_at(fs_, newer_, newer_bytes_, pair.to));
    if (older_bytes_ == newer_bytes_) return add_equal({pair.from, pair.to, newer_bytes_.size()});
    close_range();
    const auto into_page = page_up(pair.to) - pair.to;
    if (newer_bytes_.size() <= into_page || older_bytes_.size() <= into_page) return;
    match_pages({pair.from + into_page, pair.to + into_page, newer_bytes_.size() - into_page},
                pair.from + older_bytes_.size());
}

/// `inner` begins with a page, in both archives; the older region ends at `from_end`.
void CommonRuns::match_pages(const CommonRun& inner, std::uint64_t from_end) {
    const auto page_of = [](const std::vector<std::byte>& bytes, std::uint64_t offset) {
        return std::string_view(reinterpret_cast<const char*>(bytes.data()) + offset, kPage);
    };
    const auto older_begin = older_bytes_.size() - (from_end - inner.from);
    const auto newer_begin = newer_bytes_.size() - inner.bytes;
    const auto older_page = [&](std::uint64_t offset) { return page_of(older_bytes_, older_begin + offset); };
    const auto older_end = page_down(from_end - inner.from);
    std::unordered_map<std::string_view, std::uint64_t> places;
    for (std::uint64_t offset = 0; offset < older_end; offset += kPage)
        places.emplace(older_page(offset), offset);

    CommonRun run;
    for (std::uint64_t offset = 0; offset + kPage <= inner.bytes; offset += kPage) {
        const auto page = page_of(newer_bytes_, newer_begin + offset);
        const auto next = run.from + run.bytes - inner.from;
        if (run.bytes != 0 && next < older_end && older_page(next) == page) {
            run.bytes += kPage;
            continue;
        }
        give(run);
        const auto found = places.find(page);
        run = found == places.end() ? CommonRun()
                                    : CommonRun{inner.from + found->second, inner.to + offset, kPage};
    }
    give(run);
}

}  // namespace vmad::repack
