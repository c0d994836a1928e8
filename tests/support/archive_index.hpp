// Reads a whole archive in memory and says where everything is, or which rule it breaks: the strictest and
// plainest reading of the format, for small archives, and the opinion against which the real reader is held.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "support/vma_fields.hpp"

namespace vmad::testing {

/// The archive breaks a rule. The offset is that of the field at fault; of the slot, for a cluster that must
/// not be there; of the end of the file, where something is cut off or clusters are missing or cannot fit.
class Refused : public std::runtime_error {
  public:
    Refused(std::uint64_t offset, const std::string& rule) : std::runtime_error(rule), offset_(offset) {}
    [[nodiscard]] std::uint64_t offset() const noexcept { return offset_; }

  private:
    std::uint64_t offset_;
};

/// Views into the archive's bytes, which must outlive it.
struct ArchiveIndex {
    struct Device {
        std::string name;
        std::uint64_t size_bytes = 0;
    };
    /// A cluster's 16 blocks of 4096 bytes; an empty view for one that is not stored.
    using Cluster = std::array<View, kBlocksPerCluster>;

    std::uint64_t ctime = 0;
    std::vector<std::pair<std::string, View>> configs;  ///< by slot
    std::map<std::uint8_t, Device> devices;             ///< by id
    std::map<std::pair<std::uint8_t, std::uint32_t>, Cluster> clusters;

    /// Throws Refused.
    explicit ArchiveIndex(View archive);
};

}  // namespace vmad::testing
