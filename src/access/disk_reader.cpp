#include "access/disk_reader.hpp"

#include <cstring>

namespace vmad::access {
namespace {

constexpr unsigned kBlocksPerRegion = canon::kRegionBytes / vma::kBlockSize;

RegionNumber region_at(std::uint8_t device_id, std::uint64_t offset) noexcept {
    return {device_id, static_cast<std::uint32_t>(offset / canon::kRegionBytes)};
}

/// Blocks of a region that follow each other, all stored or all not.
struct BlockRun {
    const std::byte* begin;  ///< null: zeros
    unsigned end;            ///< the first block that does not belong to it
};

BlockRun run_at(const Region& region, unsigned first) noexcept {
    BlockRun run{region.block(first), first + 1};
    while (run.end < kBlocksPerRegion && (region.block(run.end) == nullptr) == (run.begin == nullptr))
        ++run.end;
    return run;
}

/// What lies in one region.
void copy(const Region& region, std::size_t offset, std::span<std::byte> into) noexcept {
    while (!into.empty()) {
        const auto block = static_cast<unsigned>(offset / vma::kBlockSize);
        const auto run = run_at(region, block);
        const auto count = std::min(into.size(), run.end * vma::kBlockSize - offset);
        if (run.begin == nullptr)
            std::memset(into.data(), 0, count);
        else
            std::memcpy(into.data(), run.begin + offset % vma::kBlockSize, count);
        offset += count;
        into = into.subspan(count);
    }
}

}  // namespace

DiskReader::DiskReader(const ArchiveIndex& index, Options options)
    : index_(index),
      options_(std::move(options)),
      ahead_(parts_ahead(options_.read_ahead, options_.memory_bytes, canon::kMaxRegionExtent)),
      regions_(options_.memory_bytes, [this](const RegionNumber& number) { return load(number); }),
      loader_(ahead_, [this](const RegionNumber& number) {
          try {
              (void)region(number);
          } catch (const std::exception&) {
              return;  // it will be met by who reads there
          }
      }) {}

void DiskReader::read_at(std::uint8_t device_id, std::uint64_t offset, std::span<std::byte> into) {
    follow(device_id, offset, into.size());
    while (!into.empty()) {
        const auto begin = offset % canon::kRegionBytes;
        const auto count = std::min(into.size(), canon::kRegionBytes - begin);
        copy(*region(region_at(device_id, offset)), begin, into.first(count));
        offset += count;
        into = into.subspan(count);
    }
}

DiskRange DiskReader::range_at(std::uint8_t device_id, std::uint64_t offset) {
    const auto number = region_at(device_id, offset);
    const auto begin = number.region * std::uint64_t{canon::kRegionBytes};
    const auto run = run_at(*region(number), static_cast<unsigned>((offset - begin) / vma::kBlockSize));
    const auto end =
        std::min(begin + run.end * vma::kBlockSize, index_.header().device(device_id)->size_bytes);
    return {offset, end - offset, run.begin != nullptr};
}

std::uint64_t DiskReader::stored_bytes(std::uint8_t device_id) const {
    std::uint64_t bytes = 0;
    for (const auto region : index_.stored_regions(device_id))
        bytes += index_.content_bytes({device_id, region});
    return bytes;
}

std::shared_ptr<const Region> DiskReader::region(const RegionNumber& number) {
    // Zeros are not worth a place among the regions: the index remembers that it has checked them.
    if (index_.stored_bytes(number) != 0) return regions_.get(number);
    static const auto zeros = std::make_shared<const Region>();
    (void)load(number);
    return zeros;
}

Region DiskReader::load(const RegionNumber& number) {
    try {
        return index_.load(number).value_or(Region());
    } catch (const DamagedRegion& damage) {
        const std::lock_guard lock(damaged_mutex_);
        if (damaged_.insert(number).second && options_.report_damage) options_.report_damage(damage);
        throw;
    }
}

void DiskReader::follow(std::uint8_t device_id, std::uint64_t offset, std::uint64_t bytes) {
    if (ahead_ == 0 || bytes == 0) return;
    const auto number = region_at(device_id, offset + bytes - 1);
    if (streams_.follow(device_id, offset, bytes, number.region)) ask_for_regions_after(number);
}

void DiskReader::ask_for_regions_after(const RegionNumber& number) {
    auto next = number;
    for (std::size_t i = 0; i < ahead_; ++i) {
        const auto stored = index_.next_stored_region({next.device_id, next.region + 1});
        if (!stored) return;
        next.region = *stored;
        if (!regions_.has(next)) loader_.ask_for(next);
    }
}

}  // namespace vmad::access
