// Disk images as the stream of a VMA archive, which the engine takes like any other: the source of a new
// archive.
//
// The devices stand in canonical order, an extent holds the clusters of a region, and every block that may be
// other than zero is stored: which ones are zero is found by the engine, in its threads. Holes are not read.
#pragma once

#include <array>
#include <deque>
#include <optional>
#include <vector>

#include "canon/layout.hpp"
#include "io/byte_stream.hpp"
#include "repack/disk_image.hpp"

namespace vmad::repack {

/// Throws base::UsageError for names of disks that two have or no file can have, and for too many of them.
void check_disk_names(const std::vector<std::string>& names);

/// The header of an archive of these disks and configs. Throws as check_disk_names() and check_configs() do.
[[nodiscard]] vma::Header header_of(const std::vector<DiskImage>& disks, std::vector<vma::Config> configs,
                                    std::uint64_t ctime);

class ImageDump final : public io::ByteSource {
  public:
    /// `header` is header_of() these disks, which are to stay as they are; `fs` outlives this object.
    ImageDump(io::FileSystem& fs, const vma::Header& header, std::vector<DiskImage> disks);

    /// Throws base::Error for an image that changes meanwhile.
    [[nodiscard]] std::size_t read(std::span<iovec> into) override;
    /// Not known: the archive has as many bytes as are no holes, and then some.
    [[nodiscard]] std::optional<std::uint64_t> size_bytes() const override { return std::nullopt; }
    /// Counts bytes of the images that are no holes.
    [[nodiscard]] io::SourceProgress progress() const override { return {done_bytes_, data_bytes_}; }

  private:
    /// What is handed out next: bytes in memory, else bytes of the image, else zeros.
    struct Piece {
        const std::byte* bytes = nullptr;
        std::optional<std::uint64_t> image_offset{};
        std::size_t size = 0;
    };

    [[nodiscard]] bool make_extent();
    void next_disk();
    [[nodiscard]] vma::BlockInfo make_cluster(std::uint64_t cluster);
    [[nodiscard]] bool has_data(std::uint64_t offset, std::size_t size);
    void add_block(std::uint64_t offset);
    [[nodiscard]] std::size_t hand_out(Piece& piece, iovec into);
    [[nodiscard]] std::size_t read_image(std::span<std::byte> into, std::uint64_t offset);
    void read_ahead(std::uint64_t offset);

    io::FileSystem& fs_;
    vma::Header header_;
    std::vector<DiskImage> disks_;          ///< in canonical order
    std::vector<std::uint8_t> device_ids_;  ///< of them
    std::vector<std::byte> header_bytes_;
    std::array<std::byte, vma::kExtentHeaderSize> extent_header_{};
    std::deque<Piece> pieces_;  ///< of the extent
    bool has_extent_ = false;

    std::size_t disk_ = 0;       ///< the one that is read
    std::uint64_t cluster_ = 0;  ///< the next one of it
    io::DataRange data_{};       ///< of it, the last that was found
    std::uint64_t ahead_ = 0;    ///< of it, read-ahead was asked for up to here

    std::uint64_t data_bytes_ = 0;
    std::uint64_t done_bytes_ = 0;
};

}  // namespace vmad::repack
