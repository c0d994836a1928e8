#include "access/raw_index.hpp"

#include <map>

#include "io/file_source.hpp"
#include "vma/archive_reader.hpp"
#include "vma/cluster_map.hpp"
#include "vma/extent.hpp"

namespace vmad::access {
namespace {

std::uint32_t region_of_cluster(std::uint32_t cluster) { return cluster / canon::kClustersPerRegion; }

/// The blocks of a cluster that begin before the device's end.
unsigned mask_within(const vma::Device& device, std::uint32_t cluster) {
    const auto rest = device.size_bytes - cluster * std::uint64_t{vma::kClusterSize};
    const auto blocks = std::min<std::uint64_t>(vma::kBlocksPerCluster,
                                                base::divide_up<std::uint64_t>(rest, vma::kBlockSize));
    return (1U << blocks) - 1;
}

/// Clusters stand anywhere.
class RawIndex final : public ArchiveIndex {
  public:
    RawIndex(io::FileSystem& fs, const io::File& file, vma::Header header, ExtentHeaders& headers)
        : ArchiveIndex(std::move(header), codec::ArchiveFormat::raw), fs_(fs), file_(file) {
        const auto size = static_cast<std::uint64_t>(fs.status(file).st_size);
        vma::ClusterMap seen(this->header(), size);
        std::uint64_t offset = this->header().size_bytes;
        if (offset == size)
            throw base::FormatError(size, "no-extent", "the archive ends before its first extent");
        while (offset < size) offset = add_extent(offset, headers, seen);
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
            region.set(i, found->second[i].mask(), begin);
            begin += vma::stored_bytes(found->second[i].mask());
        }
        if (!read(found->second, region.bytes)) throw_damaged(number);
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

    /// The blocks of these places, in one call those behind one another. False where the file ends.
    bool read(const Places& places, std::span<std::byte> into) const {
        for (unsigned i = 0; i < places.size();) {
            const auto begin = places[i].offset();
            std::size_t bytes = 0;
            while (i < places.size() && (places[i].mask() == 0 || places[i].offset() == begin + bytes))
                bytes += vma::stored_bytes(places[i++].mask());
            if (io::read_fully_at(fs_, file_, into.first(bytes), begin) < bytes) return false;
            into = into.subspan(bytes);
        }
        return true;
    }

    /// The extent at `offset`. Returns where it ends.
    std::uint64_t add_extent(std::uint64_t offset, ExtentHeaders& headers, vma::ClusterMap& seen) {
        RawExtentHeader raw;
        if (!headers.read(offset, raw))
            throw base::FormatError(offset, "extent-truncated", "the last extent header is cut off");
        const auto extent = vma::parse_extent_header(raw, header().uuid, offset);
        seen.add(extent, offset);
        offset += raw.size();
        for (const auto& slot : extent.slots) {
            if (slot.device_id == 0 || slot.mask == 0) continue;
            const auto mask = slot.mask & mask_within(*header().device(slot.device_id), slot.cluster);
            if (mask != 0) place(slot) = {offset, static_cast<std::uint16_t>(mask)};
            offset += vma::stored_bytes(slot.mask);
        }
        return offset;
    }

    /// Most clusters are of the region of the one before.
    Place& place(const vma::BlockInfo& slot) {
        const RegionNumber number{slot.device_id, region_of_cluster(slot.cluster)};
        if (last_ == regions_.end() || !(last_->first == number)) last_ = regions_.try_emplace(number).first;
        return last_->second[slot.cluster % canon::kClustersPerRegion];
    }

    io::FileSystem& fs_;
    const io::File& file_;
    std::map<RegionNumber, Places> regions_;
    std::map<RegionNumber, Places>::iterator last_ = regions_.end();
};

}  // namespace

std::unique_ptr<ArchiveIndex> read_raw_index(io::FileSystem& fs, const io::File& file,
                                             ExtentHeaders& headers) {
    io::FileSource source(fs, file, io::CacheUse::peek);
    base::BufferPool buffers(vma::kMaxExtentPayload, 0, 0);
    const vma::ArchiveReader reader(source, buffers);
    return std::make_unique<RawIndex>(fs, file, reader.header(), headers);
}

}  // namespace vmad::access
