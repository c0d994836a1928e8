#include "access/archive_index.hpp"

#include <algorithm>
#include <atomic>
#include <map>

#include <fmt/format.h>

#include "access/region_cursor.hpp"
#include "codec/zstd_form.hpp"
#include "io/file_source.hpp"
#include "vma/archive_reader.hpp"
#include "vma/cluster_map.hpp"
#include "vma/extent.hpp"
#include "vma/header.hpp"

namespace vmad::access {
namespace {

std::uint32_t region_of_cluster(std::uint32_t cluster) { return cluster / canon::kClustersPerRegion; }

std::uint32_t region_count(const vma::Device& device) {
    return static_cast<std::uint32_t>(base::divide_up<std::uint64_t>(device.size_bytes, canon::kRegionBytes));
}

/// The blocks of a cluster that begin before the device's end.
unsigned mask_within(const vma::Device& device, std::uint32_t cluster) {
    const auto rest = device.size_bytes - cluster * std::uint64_t{vma::kClusterSize};
    const auto blocks = std::min<std::uint64_t>(vma::kBlocksPerCluster,
                                                base::divide_up<std::uint64_t>(rest, vma::kBlockSize));
    return (1U << blocks) - 1;
}

/// Each region is one extent. One with payload stands in a piece of its own in the file, others, of a
/// compressed archive, may share one.
class CanonicalIndex final : public ArchiveIndex {
  public:
    CanonicalIndex(RegionCursor cursor, vma::Header header, codec::ArchiveFormat format,
                   const base::CancelFlag& cancel)
        : ArchiveIndex(std::move(header), format), cursor_(std::move(cursor)) {
        auto finder = cursor_;
        for (StoredExtents extents; finder.next(extents);) {
            cancel.check();
            if (!extents.has_payload() && format == codec::ArchiveFormat::raw) continue;  // it was checked
            pieces_.push_back({extents.number, extents.frame.stored_offset, extents.frame.stored_bytes,
                               extents.frame.bytes});
        }
        checked_ = std::vector<std::atomic<bool>>(pieces_.size());
    }

    std::vector<std::uint32_t> stored_regions(std::uint8_t device_id) const override {
        std::vector<std::uint32_t> regions;
        const auto end = extent_of({device_id, region_count(*header().device(device_id))});
        for (auto piece = first_behind({device_id, 0}); piece != pieces_.end() && piece->extent < end;
             ++piece)
            if (piece->has_payload())
                regions.push_back(static_cast<std::uint32_t>(piece->extent - extent_of({device_id, 0})));
        return regions;
    }
    std::optional<std::uint32_t> next_stored_region(const RegionNumber& from) const override {
        const auto first = extent_of({from.device_id, 0});
        const auto end = first + region_count(*header().device(from.device_id));
        auto piece = first_behind(from);
        while (piece != pieces_.end() && piece->extent < end && !piece->has_payload()) ++piece;
        if (piece == pieces_.end() || piece->extent >= end) return std::nullopt;
        return static_cast<std::uint32_t>(piece->extent - first);
    }
    std::uint64_t stored_bytes(const RegionNumber& number) const override {
        const auto* piece = find(number);
        return piece == nullptr || !piece->has_payload() ? 0 : piece->stored_bytes;
    }
    std::uint64_t content_bytes(const RegionNumber& number) const override {
        const auto* piece = find(number);
        return piece == nullptr || !piece->has_payload() ? 0 : piece->bytes - vma::kExtentHeaderSize;
    }
    void check_zero_regions(std::uint8_t device_id, const base::CancelFlag& cancel) const override {
        const auto first = extent_of({device_id, 0});
        const auto end = first + base::round_up<std::uint64_t>(region_count(*header().device(device_id)),
                                                               canon::kExtentsPerGroup);
        for (auto piece = first_behind({device_id, 0}); piece != pieces_.end() && piece->extent < end;
             ++piece) {
            cancel.check();
            if (!piece->has_payload())
                check_zeros(*piece, {device_id, static_cast<std::uint32_t>(piece->extent - first)});
        }
    }
    std::optional<Region> load(const RegionNumber& number) const override {
        const auto* piece = find(number);
        if (piece == nullptr) return std::nullopt;
        if (!piece->has_payload()) {
            check_zeros(*piece, number);
            return std::nullopt;
        }
        try {
            return region_of(cursor_.read(piece->frame(), piece->extent));
        } catch (const NotCanonical&) {
        } catch (const base::InvalidArchive&) {
        }
        throw_damaged(number);
    }

  private:
    struct Piece {
        std::uint64_t extent;  ///< the first one
        std::uint64_t offset;  ///< in the file
        std::uint32_t stored_bytes;
        std::uint32_t bytes;

        [[nodiscard]] bool has_payload() const noexcept { return bytes > codec::kMaxContentWithoutPayload; }
        [[nodiscard]] codec::SeekFrame frame() const noexcept { return {offset, stored_bytes, bytes}; }
    };

    std::uint64_t extent_of(const RegionNumber& number) const {
        return cursor_.layout().place(number.device_id, 0).extent + number.region;
    }

    /// The first piece that begins with this region or behind it.
    std::vector<Piece>::const_iterator first_behind(const RegionNumber& number) const {
        return std::lower_bound(
            pieces_.begin(), pieces_.end(), extent_of(number),
            [](const Piece& piece, std::uint64_t extent) { return piece.extent < extent; });
    }

    /// The piece that a region is in; null where an extent without payload has been checked.
    const Piece* find(const RegionNumber& number) const {
        const auto extent = extent_of(number);
        auto piece = first_behind(number);
        if (piece != pieces_.end() && piece->extent == extent) return &*piece;
        if (piece == pieces_.begin() || (--piece)->has_payload()) return nullptr;
        return &*piece;
    }

    void check_zeros(const Piece& piece, const RegionNumber& number) const {
        auto& checked = checked_[static_cast<std::size_t>(&piece - pieces_.data())];
        if (checked) return;
        try {
            cursor_.check_headers({piece.extent, static_cast<unsigned>(piece.bytes / vma::kExtentHeaderSize),
                                   0, piece.bytes, piece.frame()});
        } catch (const NotCanonical&) {
            throw_damaged(number);
        }
        checked = true;
    }

    static Region region_of(ExtentContent content) {
        Region region;
        region.bytes = std::move(content.bytes);
        std::size_t begin = vma::kExtentHeaderSize;
        for (unsigned i = 0; i < canon::kClustersPerRegion; ++i) {
            region.set(i, content.header.slots[i].mask, begin);
            begin += vma::stored_bytes(content.header.slots[i].mask);
        }
        return region;
    }

    RegionCursor cursor_;
    std::vector<Piece> pieces_;                       ///< ascending
    mutable std::vector<std::atomic<bool>> checked_;  ///< pieces without payload; by place in pieces_
};

/// Clusters stand anywhere.
class RawIndex final : public ArchiveIndex {
  public:
    RawIndex(io::FileSystem& fs, const io::File& file, vma::Header header, const base::TaskOptions& task)
        : ArchiveIndex(std::move(header), codec::ArchiveFormat::raw), fs_(fs), file_(file) {
        const auto size = static_cast<std::uint64_t>(fs.status(file).st_size);
        vma::ClusterMap seen(this->header(), size);
        std::uint64_t offset = this->header().size_bytes;
        while (offset < size) {
            task.cancel_flag().check();
            offset = add_extent(offset, seen);
            task.report(base::Stage::repacking, io::SourceProgress{offset, size});
        }
        if (offset > size) throw base::FormatError(size, "extent-truncated", "the last extent is cut off");
        seen.require_complete(size);
    }

    std::vector<std::uint32_t> stored_regions(std::uint8_t device_id) const override {
        std::vector<std::uint32_t> regions;
        for (auto entry = regions_.lower_bound({device_id, 0});
             entry != regions_.end() && entry->first.device_id == device_id; ++entry)
            regions.push_back(entry->first.region);
        return regions;
    }
    std::optional<std::uint32_t> next_stored_region(const RegionNumber& from) const override {
        const auto entry = regions_.lower_bound(from);
        if (entry == regions_.end() || entry->first.device_id != from.device_id) return std::nullopt;
        return entry->first.region;
    }
    std::uint64_t stored_bytes(const RegionNumber& number) const override {
        const auto found = regions_.find(number);
        if (found == regions_.end()) return 0;
        std::uint64_t bytes = 0;
        for (const auto& place : found->second) bytes += vma::stored_bytes(place.mask());
        return bytes;
    }
    std::uint64_t content_bytes(const RegionNumber& number) const override { return stored_bytes(number); }
    void check_zero_regions(std::uint8_t, const base::CancelFlag&) const override {}  // read() has
    std::optional<Region> load(const RegionNumber& number) const override {
        const auto found = regions_.find(number);
        if (found == regions_.end()) return std::nullopt;
        Region region;
        region.bytes.resize(stored_bytes(number));
        std::size_t begin = 0;
        for (unsigned i = 0; i < canon::kClustersPerRegion; ++i) {
            const auto& place = found->second[i];
            const auto size = vma::stored_bytes(place.mask());
            region.set(i, place.mask(), begin);
            const std::span into(region.bytes.data() + begin, size);
            if (io::read_fully_at(fs_, file_, into, place.offset()) < size) throw_damaged(number);
            begin += size;
        }
        return region;
    }

  private:
    /// Where the blocks of a cluster are, and which there are.
    class Place {
      public:
        Place() = default;
        Place(std::uint64_t offset, std::uint16_t mask) : value_(offset << 16 | mask) {}
        /// In the file, which is below 2^48 bytes: no other has so many clusters.
        [[nodiscard]] std::uint64_t offset() const noexcept { return value_ >> 16; }
        [[nodiscard]] std::uint16_t mask() const noexcept { return static_cast<std::uint16_t>(value_); }

      private:
        std::uint64_t value_ = 0;
    };
    using Places = std::array<Place, canon::kClustersPerRegion>;

    /// The extent at `offset`. Returns where it ends.
    std::uint64_t add_extent(std::uint64_t offset, vma::ClusterMap& seen) {
        std::array<std::byte, vma::kExtentHeaderSize> raw;
        if (io::read_fully_at(fs_, file_, raw, offset) < raw.size())
            throw base::FormatError(offset, "extent-truncated", "the last extent header is cut off");
        const auto extent = vma::parse_extent_header(raw, header().uuid, offset);
        seen.add(extent, offset);
        offset += raw.size();
        for (const auto& slot : extent.slots) {
            if (slot.device_id == 0 || slot.mask == 0) continue;
            const auto mask = slot.mask & mask_within(*header().device(slot.device_id), slot.cluster);
            if (mask != 0)
                regions_[{slot.device_id, region_of_cluster(slot.cluster)}]
                        [slot.cluster % canon::kClustersPerRegion] = {offset,
                                                                      static_cast<std::uint16_t>(mask)};
            offset += vma::stored_bytes(slot.mask);
        }
        return offset;
    }

    io::FileSystem& fs_;
    const io::File& file_;
    std::map<RegionNumber, Places> regions_;
};

}  // namespace

DamagedRegion::DamagedRegion(const vma::Device& device, std::uint32_t region)
    : Error(fmt::format("{}: bytes {} to {} are damaged in the archive", device.name,
                        region * std::uint64_t{canon::kRegionBytes},
                        std::min((region + std::uint64_t{1}) * canon::kRegionBytes, device.size_bytes) - 1)) {
}

void ArchiveIndex::throw_damaged(const RegionNumber& number) const {
    throw DamagedRegion(*header_.device(number.device_id), number.region);
}

std::unique_ptr<ArchiveIndex> ArchiveIndex::read(io::FileSystem& fs, const io::File& file,
                                                 const base::TaskOptions& task) {
    const auto format = codec::format_of_file(fs, file);
    try {
        if (auto cursor = RegionCursor::open(fs, file)) {
            auto header = vma::parse_header(cursor->layout().header());
            return std::make_unique<CanonicalIndex>(std::move(*cursor), std::move(header), format,
                                                    task.cancel_flag());
        }
    } catch (const NotCanonical&) {
    }
    if (format != codec::ArchiveFormat::raw)
        throw base::Unsupported(
            "nothing can be found in it without reading all that stands before; repack it first: "
            "vmactl repack --in-place FILE");
    io::FileSource source(fs, file, io::CacheUse::keep);
    base::BufferPool buffers(vma::kMaxExtentPayload, 0, 0);
    const vma::ArchiveReader reader(source, buffers);
    return std::make_unique<RawIndex>(fs, file, reader.header(), task);
}

}  // namespace vmad::access
