#include "repack/repair_donor.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "canon/sealed_extent.hpp"
#include "verify/archive_look.hpp"
#include "vma/extent.hpp"
#include "vma/header.hpp"

namespace vmad::repack {
namespace {

constexpr unsigned kRegionBlocks = canon::kClustersPerRegion * vma::kBlocksPerCluster;

access::Region region_of(std::vector<std::byte> extent) {
    const auto header = vma::parse_extent_header(
        std::span<const std::byte>(extent).first<vma::kExtentHeaderSize>(), canon::kCanonicalUuid, 0);
    access::Region region;
    std::size_t begin = vma::kExtentHeaderSize;
    for (unsigned i = 0; i < canon::kClustersPerRegion; ++i) {
        region.set(i, header.slots[i].mask, begin);
        begin += vma::stored_bytes(header.slots[i].mask);
    }
    region.bytes = std::move(extent);
    return region;
}

/// As it stands in a canonical archive.
std::vector<std::byte> sealed(const access::Region& region, const canon::ExtentPlan& plan) {
    std::array<canon::StoredCluster, canon::kClustersPerRegion> clusters{};
    for (unsigned number = 0; number < kRegionBlocks; ++number)
        if (const auto* block = region.block(number)) {
            auto& cluster = clusters[number / vma::kBlocksPerCluster];
            if (cluster.mask == 0) cluster.blocks = block;
            cluster.mask |= static_cast<std::uint16_t>(1U << number % vma::kBlocksPerCluster);
        }
    canon::SealedExtent extent(plan, std::span(clusters).first(plan.cluster_count));
    std::vector<std::byte> bytes;
    bytes.reserve(extent.size_bytes());
    for (const auto& slice : extent.slices()) {
        const auto* begin = static_cast<const std::byte*>(slice.iov_base);
        bytes.insert(bytes.end(), begin, begin + slice.iov_len);
    }
    return bytes;
}

}  // namespace

RepairDonor::RepairDonor(io::FileSystem& fs, std::string path, io::File file,
                         const access::ChecksumStore* store, const base::TaskOptions& task)
    : path_(std::move(path)), file_(std::move(file)) {
    checksums_ = access::checksums_of(fs, file_, store, task.cancel_flag());
    const auto format = codec::format_of_file(fs, file_);
    if (format == codec::ArchiveFormat::gzip) {
        const auto header = verify::canonical_header(fs, file_, format);
        if (!header) throw base::Unsupported("a .vma.gz that vmad has not repacked cannot be read in parts");
        header_ = *header;
        layout_.emplace(*header);
        found_ =
            access::search_extents(fs, file_, format, *layout_, checksums_ ? &*checksums_ : nullptr, task);
        reader_ = std::make_unique<access::FoundExtentReader>(fs, file_, format);
        return;
    }
    if (format == codec::ArchiveFormat::raw && checksums_)
        index_ = access::ArchiveIndex::of_known(fs, file_, *checksums_);
    if (!index_) index_ = access::ArchiveIndex::read(fs, file_, task);
    header_ = index_->header();
}

RepairDonor::~RepairDonor() = default;

std::optional<RepairDonor::Claim> RepairDonor::claim(const vma::Device& device, std::uint32_t region) const {
    if (!checksums_) return std::nullopt;
    for (const auto& disk : *checksums_) {
        // With another id or another end, the same content has another checksum.
        if (disk.device != device) continue;
        const auto found =
            std::lower_bound(disk.regions.begin(), disk.regions.end(), region,
                             [](const auto& known, std::uint32_t number) { return known.region < number; });
        if (found == disk.regions.end() || found->region != region) return Claim{};
        return Claim{true, found->content_bytes, found->checksum};
    }
    return std::nullopt;
}

std::optional<std::vector<std::byte>> RepairDonor::extent(const std::string& disk,
                                                          const canon::ExtentPlan& plan) {
    const auto region = plan.first_cluster / canon::kClustersPerRegion;
    for (const auto& device : header_.devices) {
        if (device.name != disk || plan.first_cluster >= device.cluster_count()) continue;
        try {
            const auto content = load(device, region);
            return content ? std::optional(sealed(*content, plan)) : std::nullopt;
        } catch (const access::DamagedRegion&) {
        } catch (const base::InvalidArchive&) {
        } catch (const base::SystemError& error) {
            if (error.number() != EIO) throw;
        }
        return std::nullopt;
    }
    return std::nullopt;
}

/// Nothing when it is not there; a region without content when it is zero.
std::optional<access::Region> RepairDonor::load(const vma::Device& own, std::uint32_t region) {
    if (index_) return index_->load({own.id, region}).value_or(access::Region());
    const auto number = layout_->place(own.id, 0).extent + region;
    const auto piece = std::partition_point(
        found_->whole.begin(), found_->whole.end(),
        [&](const access::FoundExtents& extents) { return extents.number + extents.count <= number; });
    if (piece == found_->whole.end() || piece->number > number) return std::nullopt;
    if (piece->count > 1 || piece->bytes <= vma::kExtentHeaderSize) return access::Region();
    return region_of(reader_->read(*piece));
}

// ---- all of them ----

RepairDonors::RepairDonors(io::FileSystem& fs, std::vector<std::string> paths,
                           const access::ChecksumStore* store, base::TaskOptions task, LeftOut left_out)
    : fs_(fs), store_(store), task_(std::move(task)), left_out_(std::move(left_out)) {
    for (auto& path : paths) entries_.push_back({std::move(path)});
}

RepairDonor* RepairDonors::find(std::size_t number) {
    auto& entry = entries_.at(number);
    if (!std::exchange(entry.is_opened, true)) open(entry);
    return entry.donor.get();
}

void RepairDonors::open(Entry& entry) try {
    auto file = fs_.open(entry.path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    if (!S_ISREG(fs_.status(file).st_mode)) throw base::Error(entry.path + " is not a regular file");
    entry.donor = std::make_unique<RepairDonor>(fs_, entry.path, std::move(file), store_, task_);
} catch (const base::Cancelled&) {
    throw;
} catch (const base::Error& error) {
    if (left_out_) left_out_(entry.path, error.what());
}

std::optional<std::vector<std::byte>> RepairDonors::extent(std::size_t number, const std::string& disk,
                                                           const canon::ExtentPlan& plan) {
    auto* const donor = find(number);
    return donor == nullptr ? std::nullopt : donor->extent(disk, plan);
}

}  // namespace vmad::repack
