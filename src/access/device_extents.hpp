// Reads the extents of single devices of a canonical archive in a file, raw or zstd, without the others.
//
// One thread at a time.
#pragma once

#include <bitset>
#include <optional>
#include <vector>

#include "access/region_cursor.hpp"
#include "base/task.hpp"
#include "io/byte_stream.hpp"

namespace vmad::access {

class DeviceExtents {
  public:
    /// Nothing when `file` is no canonical archive with these devices, as far as headers tell: then it is to
    /// be read from its start. `fs`, `file` and `buffers` outlive the result. Throws base::SystemError,
    /// base::Cancelled.
    [[nodiscard]] static std::optional<DeviceExtents> find(io::FileSystem& fs, const io::File& file,
                                                           const std::vector<vma::Device>& devices,
                                                           base::BufferPool& buffers,
                                                           const base::CancelFlag& cancel);

    /// The next extent that has payload, its header checked; false at the end. Throws NotCanonical: then the
    /// archive is to be read from its start, to find out what is wrong.
    [[nodiscard]] bool next(vma::Extent& extent);
    /// How far it is, in bytes of the file that are to be read.
    [[nodiscard]] io::SourceProgress progress() const noexcept { return progress_; }

  private:
    DeviceExtents(RegionCursor cursor, base::BufferPool& buffers)
        : cursor_(std::move(cursor)), buffers_(buffers) {}

    [[nodiscard]] bool is_wanted(const StoredExtents& extents) const;

    RegionCursor cursor_;
    base::BufferPool& buffers_;
    std::bitset<vma::kDeviceSlots> wanted_;  ///< by id
    io::SourceProgress progress_;
};

}  // namespace vmad::access
