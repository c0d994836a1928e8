// Finds the extents of a canonical archive in its file, raw or zstd, one behind the other: the only code that
// knows where a region is.
//
// Of a raw archive reads the header of each extent, of a zstd one its seek table; content only when it is
// asked for. One thread at a time. Memory does not depend on the archive's size.
#pragma once

#include <exception>
#include <functional>
#include <optional>
#include <span>

#include "canon/layout.hpp"
#include "codec/seek_table.hpp"
#include "vma/format.hpp"

namespace vmad::access {

/// The archive is not canonical after all, or its seek table is wrong: it is to be read from its start, to
/// find out.
class NotCanonical : public std::exception {};

/// Extents that stand in one piece in the file: one with payload, or some without.
struct StoredExtents {
    std::uint64_t number = 0;  ///< of the first one
    unsigned count = 0;
    std::uint64_t offset = 0;  ///< of the first one in the archive
    std::uint64_t bytes = 0;   ///< all of them, in the archive
    codec::SeekFrame frame;    ///< where they are in the file

    [[nodiscard]] bool has_payload() const noexcept { return bytes > count * vma::kExtentHeaderSize; }
};

/// One with payload.
struct ExtentContent {
    std::vector<std::byte> bytes;  ///< all of it, from its header on
    vma::ExtentHeader header;
};

class RegionCursor {
  public:
    /// Stands before the first extent of an archive in a regular file. Nothing when it does not begin with a
    /// canonical header, or is a compressed archive without the seek table of a canonical one. `fs` and
    /// `file` outlive the result. Throws base::FormatError, base::Unsupported, base::SystemError.
    [[nodiscard]] static std::optional<RegionCursor> open(io::FileSystem& fs, const io::File& file);

    /// Reads the header of an extent of a raw archive, at an offset in the file; false where that ends.
    using ReadHeader =
        std::function<bool(std::uint64_t offset, std::span<std::byte, vma::kExtentHeaderSize> into)>;
    /// From now on next() asks `read` for the headers of a raw archive.
    void read_headers_by(ReadHeader read) { read_header_ = std::move(read); }

    [[nodiscard]] const canon::Layout& layout() const noexcept { return layout_; }

    /// The next extents; false at the end, when that is also the end of the file. Throws NotCanonical and
    /// base::SystemError, here and below.
    [[nodiscard]] bool next(StoredExtents& extents);
    /// Throws unless the headers of these extents are those that belong there, as far as next() has not seen
    /// that. What their blocks hold is not looked at.
    void check_headers(const StoredExtents& extents) const;
    /// The bytes of extents without payload, which are headers alone, checked. Any thread.
    [[nodiscard]] std::vector<std::byte> read_headers(const StoredExtents& extents) const;
    /// An extent with payload, its header checked. Any thread.
    [[nodiscard]] ExtentContent read(const codec::SeekFrame& frame, std::uint64_t number) const;

  private:
    RegionCursor(io::FileSystem& fs, const io::File& file, canon::Layout layout)
        : fs_(&fs), file_(&file), layout_(std::move(layout)) {}

    void find_raw(StoredExtents& extents);
    void find_frame(StoredExtents& extents);
    void check_end();

    io::FileSystem* fs_;
    const io::File* file_;
    canon::Layout layout_;
    std::optional<codec::SeekTable> table_;  ///< none for a raw archive
    ReadHeader read_header_;                 ///< empty: from the file
    std::uint64_t frame_ = 1;                ///< the next one of the table; 0 is the header
    std::uint64_t number_ = 0;               ///< of the next extent
    std::uint64_t offset_ = 0;               ///< in the archive
    bool in_run_ = false;                    ///< the last ones had no payload
};

}  // namespace vmad::access
