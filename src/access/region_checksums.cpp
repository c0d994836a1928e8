#include "access/region_checksums.hpp"

#include <algorithm>

#include "access/region_cursor.hpp"
#include "codec/archive_format.hpp"
#include "vma/header.hpp"

namespace vmad::access {
namespace {

std::optional<std::vector<DiskChecksums>> checksums_of(RegionCursor& cursor, const base::CancelFlag& cancel,
                                                       std::uint64_t max_regions) {
    std::uint64_t count = 0;
    std::vector<DiskChecksums> disks;
    std::array<std::size_t, vma::kDeviceSlots> by_id{};
    for (const auto& device : vma::parse_header(cursor.layout().header()).devices) {
        by_id[device.id] = disks.size();
        disks.push_back({device, {}});
    }
    for (StoredExtents extents; cursor.next(extents);) {
        cancel.check();
        if (!extents.has_payload()) continue;
        if (++count > max_regions) return std::nullopt;
        const auto plan = cursor.layout().plan(extents.number);
        disks[by_id[plan.device_id]].regions.push_back(
            {plan.first_cluster / canon::kClustersPerRegion,
             extents.frame.bytes - static_cast<std::uint32_t>(vma::kExtentHeaderSize), extents.frame.checksum,
             extents.frame.stored_bytes, extents.frame.stored_offset});
    }
    return disks;
}

}  // namespace

bool are_disks_of(const std::vector<DiskChecksums>& disks, const vma::Header& header) {
    return disks.size() == header.devices.size() &&
           std::all_of(disks.begin(), disks.end(), [&](const DiskChecksums& disk) {
               const auto* own = header.device(disk.device.id);
               return own != nullptr && *own == disk.device;
           });
}

std::optional<StoredRegions> read_stored_regions(io::FileSystem& fs, const io::File& file,
                                                 const base::CancelFlag& cancel, std::uint64_t max_regions) {
    StoredRegions stored;
    stored.format = codec::format_of_file(fs, file);
    stored.has_checksums = stored.format == codec::ArchiveFormat::zstd;
    try {
        auto cursor = RegionCursor::open(fs, file);
        if (!cursor) return std::nullopt;
        stored.header_bytes = cursor->layout().header().size();
        auto disks = checksums_of(*cursor, cancel, max_regions);
        if (!disks) return std::nullopt;
        stored.disks = std::move(*disks);
        return stored;
    } catch (const NotCanonical&) {
        return std::nullopt;
    }
}

std::optional<std::vector<DiskChecksums>> read_region_checksums(io::FileSystem& fs, const io::File& file,
                                                                const base::CancelFlag& cancel,
                                                                std::uint64_t max_regions) {
    if (codec::format_of_file(fs, file) != codec::ArchiveFormat::zstd) return std::nullopt;
    auto stored = read_stored_regions(fs, file, cancel, max_regions);
    if (!stored) return std::nullopt;
    return std::move(stored->disks);
}

}  // namespace vmad::access
