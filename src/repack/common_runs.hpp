// Finds what two archives have in common at offsets at which their file system can share it: runs of whole
// pages.
//
// Regions whose checksums agree are taken for equal, and not read: the kernel compares whatever is shared.
// Others are read, and compared page by page, also where their content has moved by whole pages. Runs that
// follow each other in both files are joined. What stands in the same place on the device already is left
// out. One thread; in memory are one region of each archive.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "access/region_checksums.hpp"
#include "base/task.hpp"
#include "io/file_system.hpp"
#include "repack/device_map.hpp"

namespace vmad::repack {

/// The same bytes in both files; all three numbers are multiples of codec::kPageBytes.
struct CommonRun {
    std::uint64_t from = 0;  ///< offset in the older file
    std::uint64_t to = 0;    ///< offset in the newer file
    std::uint64_t bytes = 0;
};

/// A part of each archive that may be the same: a region that both have.
struct RegionPair {
    std::uint64_t from = 0;  ///< in the older file
    std::uint64_t from_bytes = 0;
    std::uint64_t to = 0;  ///< in the newer file
    std::uint64_t to_bytes = 0;
    bool is_equal = false;  ///< as their checksums say
};

/// The regions that both archives store, and their headers, in the order of the newer file.
[[nodiscard]] std::vector<RegionPair> common_regions(const access::StoredRegions& older,
                                                     const access::StoredRegions& newer);

class CommonRuns {
  public:
    using Sink = std::function<void(const CommonRun&)>;

    /// Of archives of `format`. Gives each run to `found`, in the order of the newer file. What the arguments
    /// refer to outlives this object.
    CommonRuns(io::FileSystem& fs, const io::File& older, const io::File& newer, codec::ArchiveFormat format,
               Sink found);

    /// Looks at a pair; they come in the order of the newer file. Throws base::SystemError.
    void add(const RegionPair& pair);
    /// After the last one.
    void finish();

    /// Of the newer file, in the same place as in the older one already.
    [[nodiscard]] std::uint64_t shared_before_bytes() const noexcept { return shared_before_bytes_; }

  private:
    void look_again();
    void add_equal(const CommonRun& range);
    void close_range();
    void give(CommonRun run);
    void compare(const RegionPair& pair);
    void match_pages(const CommonRun& inner, std::uint64_t from_end);
    [[nodiscard]] bool is_same(std::uint64_t from, std::uint64_t to, std::size_t bytes);

    io::FileSystem& fs_;
    const io::File& older_;
    const io::File& newer_;
    bool is_compressed_;
    Sink found_;
    DeviceMap older_map_;
    DeviceMap newer_map_;
    CommonRun range_;             ///< equal, of any number of bytes: not given yet
    std::uint64_t given_to_ = 0;  ///< in the newer file
    std::uint64_t shared_before_bytes_ = 0;
    std::optional<RegionPair> doubtful_;  ///< the last pair, when an earlier run has shared a part of it
    std::vector<std::byte> older_bytes_;  ///< of the pair that is compared
    std::vector<std::byte> newer_bytes_;
};

}  // namespace vmad::repack
