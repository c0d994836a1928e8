// What two backups of a guest share: disk by disk, in regions of 2 MiB.
//
// By the checksums of the regions, with nothing read; or by their content, and then also block by block. Both
// count alike by regions. `before` is the older archive, `after` the newer one; disks belong together by
// their names. Any thread.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "access/archive_index.hpp"
#include "access/region_checksums.hpp"
#include "base/task.hpp"

namespace vmad::access {

enum class Change : std::uint8_t {
    equal,
    changed,
    added,     ///< zero before, or past the disk's end
    discarded  ///< zero now, or past the disk's end
};

/// By Change: bytes of content, that is of blocks that are not zero; of what was discarded, those of before.
class ContentBytes {
  public:
    [[nodiscard]] std::uint64_t& operator[](Change change) { return bytes_[static_cast<unsigned>(change)]; }
    [[nodiscard]] std::uint64_t operator[](Change change) const {
        return bytes_[static_cast<unsigned>(change)];
    }
    void add(const ContentBytes& other) {
        for (std::size_t i = 0; i < bytes_.size(); ++i) bytes_[i] += other.bytes_[i];
    }
    /// Of what differs.
    [[nodiscard]] std::uint64_t differing() const {
        return (*this)[Change::changed] + (*this)[Change::added] + (*this)[Change::discarded];
    }
    friend bool operator==(const ContentBytes&, const ContentBytes&) = default;

  private:
    std::array<std::uint64_t, 4> bytes_{};
};

/// Regions of a disk that follow each other, up to the end of the disk.
struct ComparedRange {
    std::uint64_t offset = 0;
    std::uint64_t bytes = 0;
    Change change = Change::equal;
    friend bool operator==(const ComparedRange&, const ComparedRange&) = default;
};

/// A part of a disk that is also counted by itself, such as a partition.
struct DiskPart {
    std::uint64_t offset = 0;
    std::uint64_t bytes = 0;
    /// By blocks where they were compared; else a region that lies in several parts counts in each, up to as
    /// many bytes as they share.
    ContentBytes content{};
};

struct DiskComparison {
    std::string name;
    std::optional<std::uint64_t> before_bytes;  ///< the disk's size; nothing: only the other archive has it
    std::optional<std::uint64_t> after_bytes;
    ContentBytes content;                ///< by regions
    std::optional<ContentBytes> blocks;  ///< by blocks, where they were compared
    std::uint64_t new_stored_bytes = 0;  ///< in the file of the newer archive, of changed and added regions
    std::vector<ComparedRange> ranges;   ///< ascending; what is in none is zero in both
    std::vector<DiskPart> parts;         ///< as they were asked for

    [[nodiscard]] bool differs() const { return before_bytes != after_bytes || content.differing() != 0; }
};

struct ComparisonOptions {
    /// The parts of a disk; none where it is empty.
    std::function<std::vector<DiskPart>(const std::string& disk)> parts{};
    /// Is called for each changed or added region of a disk, ascending, with its bytes in the newer file.
    std::function<void(const std::string& disk, std::uint32_t region, std::uint64_t stored_bytes)> found{};
    /// Whether a region that both archives store is the same, where checksums cannot tell: the disk has
    /// another device id, or another end. Where it is empty, such a region counts as changed.
    std::function<bool(const vma::Device& before, const vma::Device& after, std::uint32_t region)> is_same{};
};

/// A region of one of the two could not be read.
class DamagedSide : public DamagedRegion {
  public:
    DamagedSide(const DamagedRegion& damage, bool is_newer) : DamagedRegion(damage), is_newer_(is_newer) {}
    /// Whether it is the newer archive that is damaged.
    [[nodiscard]] bool is_newer() const noexcept { return is_newer_; }

  private:
    bool is_newer_;
};

/// First the disks of the newer archive, in its order; then those that only the older one has. Passes on what
/// the options throw.
[[nodiscard]] std::vector<DiskComparison> compare_checksums(const std::vector<DiskChecksums>& before,
                                                            const std::vector<DiskChecksums>& after,
                                                            const ComparisonOptions& options = {});

/// The same, by reading all that is stored in the disks of both. Throws DamagedSide, base::SystemError,
/// base::Cancelled.
[[nodiscard]] std::vector<DiskComparison> compare_content(const ArchiveIndex& before,
                                                          const ArchiveIndex& after,
                                                          const ComparisonOptions& options,
                                                          const base::TaskOptions& task);

/// ComparisonOptions::is_same by reading the region of both. Throws DamagedSide, base::SystemError.
[[nodiscard]] bool is_same_region(const ArchiveIndex& before, const vma::Device& before_device,
                                  const ArchiveIndex& after, const vma::Device& after_device,
                                  std::uint32_t region);

}  // namespace vmad::access
