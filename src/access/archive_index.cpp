#include "access/archive_index.hpp"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "access/region_cursor.hpp"
#include "io/file_source.hpp"
#include "vma/archive_reader.hpp"
#include "vma/cluster_map.hpp"
#include "vma/extent.hpp"
#include "vma/header.hpp"

namespace vmad::access {
namespace {

std::uint32_t region_of_cluster(std::uint32_t cluster) { return cluster / canon::kClustersPerRegion; }

/// Each region is one extent, which stands in one piece in the file.
class CanonicalIndex final : public ArchiveIndex {
  public:
    CanonicalIndex(RegionCursor cursor, vma::Header header, codec::ArchiveFormat format,
                   const base::CancelFlag& cancel)
        : ArchiveIndex(std::move(header), format), cursor_(std::move(cursor)) {
        auto finder = cursor_;
        for (StoredExtents extents; finder.next(extents);) {
            cancel.check();
            if (extents.has_payload()) add(extents);
        }
    }

    std::vector<std::uint32_t> stored_regions(std::uint8_t device_id) const override {
        std::vector<std::uint32_t> regions;
        for (const auto& stored : devices_[device_id]) regions.push_back(stored.region);
        return regions;
    }
    std::uint64_t stored_bytes(const RegionNumber& number) const override {
        const auto* stored = find(number);
        return stored == nullptr ? 0 : stored->stored_bytes;
    }
    void check_zero_regions(std::uint8_t device_id, const base::CancelFlag& cancel) const override {
        auto finder = cursor_;
        for (StoredExtents extents; finder.next(extents);) {
            cancel.check();
            const auto plan = cursor_.layout().plan(extents.number);
            if (plan.device_id != device_id || extents.has_payload()) continue;
            try {
                finder.check_headers(extents);
            } catch (const NotCanonical&) {
                throw_damaged({device_id, region_of_cluster(plan.first_cluster)});
            }
        }
    }
    std::optional<Region> load(const RegionNumber& number) const override {
        const auto* stored = find(number);
        if (stored == nullptr) return std::nullopt;
        try {
            return region_of(
                cursor_.read({stored->offset, stored->stored_bytes, stored->bytes}, stored->extent));
        } catch (const NotCanonical&) {
        } catch (const base::InvalidArchive&) {
        }
        throw_damaged(number);
    }

  private:
    struct Stored {
        std::uint64_t offset;  ///< in the file
        std::uint64_t extent;
        std::uint32_t region;
        std::uint32_t stored_bytes;
        std::uint32_t bytes;
    };

    void add(const StoredExtents& extents) {
        const auto plan = cursor_.layout().plan(extents.number);
        devices_[plan.device_id].push_back({extents.frame.stored_offset, extents.number,
                                            region_of_cluster(plan.first_cluster), extents.frame.stored_bytes,
                                            extents.frame.bytes});
    }

    const Stored* find(const RegionNumber& number) const {
        const auto& stored = devices_[number.device_id];
        const auto found =
            std::lower_bound(stored.begin(), stored.end(), number.region,
                             [](const Stored& one, std::uint32_t region) { return one.region < region; });
        return found == stored.end() || found->region != number.region ? nullptr : &*found;
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
    std::array<std::vector<Stored>, vma::kDeviceSlots> devices_;  ///< by id; ascending
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
    std::uint64_t stored_bytes(const RegionNumber& number) const override {
        const auto found = regions_.find(number);
        if (found == regions_.end()) return 0;
        std::uint64_t bytes = 0;
        for (const auto& place : found->second) bytes += vma::stored_bytes(place.mask());
        return bytes;
    }
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
            auto& places = regions_[{slot.device_id, region_of_cluster(slot.cluster)}];
            places[slot.cluster % canon::kClustersPerRegion] = {offset, slot.mask};
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
