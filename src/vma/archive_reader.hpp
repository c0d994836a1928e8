// Reads an archive from its first byte to its last and checks every rule of the format on the way.
//
// An archive that is read to the end without an exception is valid. One thread at a time; what it hands out
// belongs to the caller and may go to any thread.
#pragma once

#include <memory>
#include <vector>

#include "base/buffer_pool.hpp"
#include "io/byte_stream.hpp"
#include "vma/cluster_map.hpp"
#include "vma/format.hpp"

namespace vmad::vma {

/// An extent as it stands in the archive.
struct Extent {
    std::uint64_t number = 0;  ///< from 0
    std::uint64_t offset = 0;  ///< byte in the archive where its header begins
    std::array<std::byte, kExtentHeaderSize> raw_header{};
    ExtentHeader header;
    std::shared_ptr<base::Buffer> payload;  ///< header.payload_bytes() bytes, slot by slot, block by block

    [[nodiscard]] std::uint64_t payload_offset() const noexcept { return offset + kExtentHeaderSize; }
};

class ArchiveReader {
  public:
    /// Reads and checks the header. `source` and `buffers` outlive this object. Throws base::FormatError,
    /// base::Unsupported, base::SystemError.
    ArchiveReader(io::ByteSource& source, base::BufferPool& buffers);

    [[nodiscard]] const Header& header() const noexcept { return header_; }
    /// The header as it was read, header().size_bytes bytes.
    [[nodiscard]] const std::vector<std::byte>& raw_header() const noexcept { return raw_header_; }

    /// The next extent; false at the end of a complete archive. Throws as the constructor does.
    [[nodiscard]] bool next(Extent& extent);

    /// The devices that the extents so far do not have all of.
    [[nodiscard]] std::vector<std::string> incomplete_devices() const { return clusters_->incomplete(); }

    /// Bytes of the archive that were used so far.
    [[nodiscard]] std::uint64_t offset() const noexcept { return offset_; }

  private:
    void read_header();
    void check_end(std::size_t left_over) const;

    io::ByteSource& source_;
    base::BufferPool& buffers_;
    std::vector<std::byte> raw_header_;
    Header header_;
    std::unique_ptr<ClusterMap> clusters_;
    std::uint64_t offset_ = 0;
    std::uint64_t extents_ = 0;
    /// The bytes behind the last extent, read together with its payload: mostly the next header.
    std::array<std::byte, kExtentHeaderSize> ahead_{};
    std::size_t ahead_bytes_ = 0;
};

}  // namespace vmad::vma
