#include "vma/cluster_map.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "base/error.hpp"
#include "vma/extent.hpp"

namespace vmad::vma {

using base::FormatError;

ClusterMap::ClusterMap(const Header& header, std::optional<std::uint64_t> archive_bytes) {
    // At most 254 devices of at most 2^32 clusters: the sum cannot overflow.
    for (const auto& device : header.devices) missing_ += device.cluster_count();
    if (archive_bytes) {
        const auto rest = *archive_bytes - std::min<std::uint64_t>(*archive_bytes, header.size_bytes);
        const auto room = rest / kExtentHeaderSize * kSlotsPerExtent;
        if (missing_ > room)
            throw FormatError(
                *archive_bytes, "archive-length",
                fmt::format("the archive ends here, but the devices have {} clusters and no more than {} "
                            "fit: it is cut off",
                            missing_, room));
    }
    if (!archive_bytes && missing_ > kMaxUnsizedClusters)
        throw base::Unsupported(
            "compressed or from a pipe, disks of more than 64 TiB in all are not supported");
    for (const auto& device : header.devices) {
        const auto count = device.cluster_count();
        devices_.push_back({device.name, count, count, {}});
        index_[device.id] = static_cast<std::uint8_t>(devices_.size());
    }
}

void ClusterMap::add(const ExtentHeader& extent, std::uint64_t offset) {
    for (unsigned i = 0; i < kSlotsPerExtent; ++i) {
        const auto& slot = extent.slots[i];
        if (slot.device_id == 0) continue;
        const auto at = offset + slot_offset(i);
        if (index_[slot.device_id] == 0)
            throw FormatError(at, "cluster-device",
                              fmt::format("cluster {} of device id {}, which the header does not name",
                                          slot.cluster, slot.device_id));
        auto& device = devices_[index_[slot.device_id] - 1u];
        if (slot.cluster >= device.cluster_count)
            throw FormatError(at, "cluster-range",
                              fmt::format("cluster {} of device {} is past its end: it has {}", slot.cluster,
                                          device.name, device.cluster_count));
        auto [found, is_new] = device.seen.try_emplace(slot.cluster / kRegionClusters);
        auto& region = found->second;
        if (is_new) region = std::make_unique<Region>();
        if (!region || region->bits.test(slot.cluster % kRegionClusters))
            throw FormatError(
                at, "cluster-twice",
                fmt::format("cluster {} of device {} is stored twice", slot.cluster, device.name));
        region->bits.set(slot.cluster % kRegionClusters);
        if (++region->count == kRegionClusters) region.reset();
        --device.missing;
        --missing_;
    }
}

std::uint64_t ClusterMap::DeviceMap::first_missing() const {
    for (std::uint64_t cluster = 0;; ++cluster) {
        const auto region = seen.find(static_cast<std::uint32_t>(cluster / kRegionClusters));
        if (region == seen.end() || (region->second && !region->second->bits.test(cluster % kRegionClusters)))
            return cluster;
    }
}

std::vector<std::string> ClusterMap::incomplete() const {
    std::vector<std::string> names;
    for (const auto& device : devices_)
        if (device.missing != 0) names.push_back(device.name);
    return names;
}

void ClusterMap::require_complete(std::uint64_t end) const {
    for (const auto& device : devices_) {
        if (device.missing == 0) continue;
        throw FormatError(
            end, "cluster-missing",
            fmt::format("the archive ends, but cluster {} of device {} is missing ({} of {} are)",
                        device.first_missing(), device.name, device.missing, device.cluster_count));
    }
}

}  // namespace vmad::vma
