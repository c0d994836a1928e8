#include "access/canonical_index.hpp"

#include <algorithm>
#include <atomic>

#include "access/region_cursor.hpp"
#include "codec/zstd_form.hpp"
#include "vma/header.hpp"

namespace vmad::access {
namespace {

std::uint32_t region_count(const vma::Device& device) {
    return static_cast<std::uint32_t>(base::divide_up<std::uint64_t>(device.size_bytes, canon::kRegionBytes));
}

/// Each region is one extent. One with payload stands in a piece of its own in the file, others, of a
/// compressed archive, may share one.
class CanonicalIndex final : public ArchiveIndex {
  public:
    CanonicalIndex(RegionCursor cursor, vma::Header header, codec::ArchiveFormat format,
                   ExtentHeaders* headers, const base::CancelFlag& cancel)
        : ArchiveIndex(std::move(header), format), cursor_(std::move(cursor)) {
        auto finder = cursor_;
        if (headers != nullptr)
            finder.read_headers_by([&](auto offset, auto into) { return headers->read(offset, into); });
        for (StoredExtents extents; finder.next(extents);) {
            cancel.check();
            if (!extents.has_payload() && format == codec::ArchiveFormat::raw) continue;  // it was checked
            pieces_.push_back({extents.number, extents.frame.stored_offset, extents.frame.stored_bytes,
                               extents.frame.bytes});
        }
        checked_ = std::vector<std::atomic<bool>>(pieces_.size());
    }

    /// Of a raw archive with these regions.
    CanonicalIndex(RegionCursor cursor, vma::Header header, const std::vector<DiskChecksums>& disks)
        : ArchiveIndex(std::move(header), codec::ArchiveFormat::raw), cursor_(std::move(cursor)) {
        for (const auto& disk : disks)
            for (const auto& region : disk.regions)
                pieces_.push_back({extent_of({disk.device.id, region.region}), region.stored_offset,
                                   region.stored_bytes, region.stored_bytes});
        std::sort(pieces_.begin(), pieces_.end(),
                  [](const Piece& a, const Piece& b) { return a.extent < b.extent; });
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

}  // namespace

std::unique_ptr<ArchiveIndex> read_canonical_index(io::FileSystem& fs, const io::File& file,
                                                   codec::ArchiveFormat format, ExtentHeaders* headers,
                                                   const base::CancelFlag& cancel) {
    try {
        auto cursor = RegionCursor::open(fs, file);
        if (!cursor) return nullptr;
        auto header = vma::parse_header(cursor->layout().header());
        return std::make_unique<CanonicalIndex>(std::move(*cursor), std::move(header), format, headers,
                                                cancel);
    } catch (const NotCanonical&) {
        return nullptr;
    }
}

std::unique_ptr<ArchiveIndex> known_raw_index(io::FileSystem& fs, const io::File& file,
                                              const std::vector<DiskChecksums>& regions) {
    if (codec::format_of_file(fs, file) != codec::ArchiveFormat::raw) return nullptr;
    auto cursor = RegionCursor::open(fs, file);
    if (!cursor) return nullptr;
    auto header = vma::parse_header(cursor->layout().header());
    std::vector<vma::Device> devices;
    for (const auto& disk : regions) devices.push_back(disk.device);
    if (devices != header.devices) return nullptr;
    return std::make_unique<CanonicalIndex>(std::move(*cursor), std::move(header), regions);
}

}  // namespace vmad::access
