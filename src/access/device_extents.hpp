// Reads the extents of single devices of a canonical zstd archive, by its seek table, without the others.
//
// One thread at a time.
#pragma once

#include <exception>
#include <optional>
#include <vector>

#include "base/buffer_pool.hpp"
#include "base/task.hpp"
#include "canon/layout.hpp"
#include "codec/seek_table.hpp"
#include "io/byte_stream.hpp"
#include "vma/archive_reader.hpp"

namespace vmad::access {

/// A frame is not what the seek table says: one of them is wrong.
class SeekTableMismatch : public std::exception {};

class DeviceExtents {
  public:
    /// Nothing when `file` is no archive with this canonical header of which every frame that is needed
    /// begins with the canonical extent header that belongs there: then it is to be read from its start.
    /// `fs`, `file` and `buffers` outlive the result. Throws base::SystemError, base::Cancelled.
    [[nodiscard]] static std::optional<DeviceExtents> find(io::FileSystem& fs, const io::File& file,
                                                           const vma::ArchiveReader& reader,
                                                           const std::vector<vma::Device>& devices,
                                                           base::BufferPool& buffers,
                                                           const base::CancelFlag& cancel);

    /// The next extent, checked; false at the end. Throws SeekTableMismatch: then the archive is to be read
    /// from its start, to find out what is wrong.
    [[nodiscard]] bool next(vma::Extent& extent);
    /// How far it is, in bytes of the frames that are to be read.
    [[nodiscard]] io::SourceProgress progress() const noexcept { return progress_; }

  private:
    DeviceExtents(io::FileSystem& fs, const io::File& file, base::BufferPool& buffers)
        : fs_(fs), file_(file), buffers_(buffers) {}

    /// A frame and what it holds.
    struct Wanted {
        std::uint64_t number;  ///< of the extent
        std::uint64_t offset;  ///< of the extent in the archive
        canon::ExtentPlan plan;
        codec::SeekFrame frame;
    };

    io::FileSystem& fs_;
    const io::File& file_;
    base::BufferPool& buffers_;
    std::vector<Wanted> wanted_;
    std::size_t next_ = 0;
    io::SourceProgress progress_;
};

}  // namespace vmad::access
