// The canonical layout, version 1: where each cluster of a guest stands, whatever order it was dumped in.
//
// Computed from the archive's header alone. Devices by descending byte order of their names, with ids that
// depend on the names alone, so that adding a disk does not renumber the others; an extent for each aligned
// region of 2 MiB, its clusters ascending; then as many empty extents as make the number of the device's
// extents a multiple of eight, so that every device begins on a multiple of 4096. FORMAT.md has all of it.
// Changing anything here costs every user a full copy. Pure; any thread once it is built.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "vma/format.hpp"

namespace vmad::canon {

/// The id of each name. `names` are unique and at most 254. The disks that Proxmox knows have fixed ids: ide,
/// scsi, virtio, sata, efidisk and both spellings of tpmstate, 1 to 60; any other name gets one from 61 on by
/// its FNV-1a hash, the next free one where that is taken.
[[nodiscard]] std::map<std::string, std::uint8_t> stable_ids(std::vector<std::string> names);

inline constexpr int kLayoutVersion = 1;
inline constexpr unsigned kClustersPerRegion = 32;
/// A region of a device is what one extent holds.
inline constexpr std::size_t kRegionBytes = kClustersPerRegion * vma::kClusterSize;
inline constexpr std::size_t kMaxRegionExtent = vma::kExtentHeaderSize + kRegionBytes;
/// Each device has a multiple of this many extents. So the extents of a group, by their numbers in the
/// archive, are of one device.
inline constexpr unsigned kExtentsPerGroup = 8;
/// The uuid of every canonical archive.
extern const vma::Uuid kCanonicalUuid;

/// A place in the canonical order.
struct Place {
    std::uint64_t extent = 0;  ///< number of the extent, from 0
    unsigned slot = 0;         ///< in that extent
};

/// What one canonical extent holds: `cluster_count` clusters of one device from `first_cluster` on. None in
/// the extents that fill a device up, and in the one of an archive without devices.
struct ExtentPlan {
    std::uint8_t device_id = 0;           ///< canonical id; 0 in an archive without devices
    std::uint64_t device_size_bytes = 0;  ///< of the whole device: its last cluster may be cut
    std::uint32_t first_cluster = 0;
    unsigned cluster_count = 0;
};

class Layout {
  public:
    /// `source` is the header of a valid archive, canonical or not.
    explicit Layout(const vma::Header& source);

    /// The canonical header as bytes.
    [[nodiscard]] const std::vector<std::byte>& header() const noexcept { return header_; }
    [[nodiscard]] std::uint64_t extent_count() const noexcept { return extent_count_; }
    /// `extent` is below extent_count().
    [[nodiscard]] ExtentPlan plan(std::uint64_t extent) const;
    /// Where a cluster of the source stands. `source_device_id` and `cluster` were checked against the
    /// header.
    [[nodiscard]] Place place(std::uint8_t source_device_id, std::uint32_t cluster) const noexcept;

  private:
    struct DevicePlan {
        std::uint8_t id;
        std::uint64_t size_bytes;
        std::uint64_t cluster_count;
        std::uint64_t first_extent;
    };
    std::vector<DevicePlan> devices_;                                 ///< in canonical order
    std::array<std::uint64_t, vma::kDeviceSlots> first_extent_of_{};  ///< by source id
    std::uint64_t extent_count_ = 0;
    std::vector<std::byte> header_;
};

}  // namespace vmad::canon
