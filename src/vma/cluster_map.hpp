// Which clusters of which device an archive has shown so far: the rules that hold across extents.
//
// Every cluster of every device must be stored exactly once. A bit per cluster, but only for regions of which
// the archive has shown some clusters and not all: neither a number alone nor an archive in order uses up
// memory. One thread at a time.
#pragma once

#include <bitset>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "vma/format.hpp"

namespace vmad::vma {

/// How many clusters an archive of unknown length may have, 64 TiB: a few compressed bytes can name clusters
/// all over its devices.
inline constexpr std::uint64_t kMaxUnsizedClusters = std::uint64_t{1} << 30;

class ClusterMap {
  public:
    /// `archive_bytes`: the archive's length where it is known. Throws base::FormatError before it allocates
    /// anything when the devices' clusters cannot be in an archive of that length, and base::Unsupported for
    /// more than kMaxUnsizedClusters when it is not known. `header` is copied from.
    ClusterMap(const Header& header, std::optional<std::uint64_t> archive_bytes);

    /// Takes note of the clusters of the extent at byte `offset`. Throws base::FormatError for a device that
    /// the header does not name, a cluster past its end or stored twice.
    void add(const ExtentHeader& extent, std::uint64_t offset);

    /// True when every cluster was seen.
    [[nodiscard]] bool complete() const noexcept { return missing_ == 0; }

    /// The names of the devices of which clusters are missing.
    [[nodiscard]] std::vector<std::string> incomplete() const;

    /// Throws base::FormatError for the first missing cluster; `end` is the archive's length.
    void require_complete(std::uint64_t end) const;

  private:
    static constexpr std::uint32_t kRegionClusters = 1 << 12;
    struct Region {
        std::bitset<kRegionClusters> bits;
        unsigned count = 0;
    };
    struct DeviceMap {
        std::string name;
        std::uint64_t cluster_count = 0;
        std::uint64_t missing = 0;
        std::unordered_map<std::uint32_t, std::unique_ptr<Region>>
            seen;  ///< by cluster / kRegionClusters; null: all
        [[nodiscard]] std::uint64_t first_missing() const;
    };
    std::array<std::uint8_t, kDeviceSlots> index_{};  ///< id -> 1 + position in devices_, 0 for none
    std::vector<DeviceMap> devices_;
    std::uint64_t missing_ = 0;
};

}  // namespace vmad::vma
