#include "repack/image_dump.hpp"

#include <fcntl.h>

#include <algorithm>
#include <cstring>
#include <set>

#include <fmt/format.h>

#include "repack/config_list.hpp"
#include "vma/extent.hpp"
#include "vma/header.hpp"

namespace vmad::repack {
namespace {

/// Read-ahead is asked for in steps of this: enough to keep a disk busy while others compute.
constexpr std::uint64_t kWindow = std::uint64_t{8} << 20;
constexpr char kRamName[] = "vmstate";

void check_disk_name(const std::string& name) {
    if (name == kRamName)
        throw base::UsageError("a disk cannot be called vmstate: that is the guest's RAM in an archive");
    if (!is_file_name(name))
        throw base::UsageError(fmt::format("\"{}\" cannot name a disk: it is not a valid file name", name));
}

std::vector<DiskImage> in_canonical_order(std::vector<DiskImage> disks) {
    std::sort(disks.begin(), disks.end(), [](const auto& a, const auto& b) { return a.name > b.name; });
    return disks;
}

std::uint64_t data_bytes_of(io::FileSystem& fs, const DiskImage& disk) {
    std::uint64_t bytes = 0;
    auto data = io::next_data(fs, disk.file, 0, disk.size_bytes);
    while (data) {
        bytes += data->end - data->begin;
        data = io::next_data(fs, disk.file, data->end, disk.size_bytes);
    }
    return bytes;
}

std::uint8_t id_of(const vma::Header& header, const std::string& name) {
    return std::find_if(header.devices.begin(), header.devices.end(),
                        [&](const auto& device) { return device.name == name; })
        ->id;
}

}  // namespace

void check_disk_names(const std::vector<std::string>& names) {
    if (names.size() > vma::kMaxDeviceId)
        throw base::UsageError(fmt::format("an archive holds at most {} disks", vma::kMaxDeviceId));
    std::set<std::string> seen;
    for (const auto& name : names) {
        check_disk_name(name);
        if (!seen.insert(name).second)
            throw base::UsageError(fmt::format("two disks have the name {}", name));
    }
}

vma::Header header_of(const std::vector<DiskImage>& disks, std::vector<vma::Config> configs,
                      std::uint64_t ctime) {
    std::vector<std::string> names;
    for (const auto& disk : disks) names.push_back(disk.name);
    check_disk_names(names);
    check_configs(configs);
    vma::Header header;
    header.uuid = canon::kCanonicalUuid;
    header.ctime = ctime;
    header.configs = std::move(configs);
    const auto ids = canon::stable_ids(names);
    for (const auto& disk : disks) header.devices.push_back({ids.at(disk.name), disk.name, disk.size_bytes});
    std::sort(header.devices.begin(), header.devices.end(),
              [](const auto& a, const auto& b) { return a.id < b.id; });
    return header;
}

ImageDump::ImageDump(io::FileSystem& fs, const vma::Header& header, std::vector<DiskImage> disks)
    : fs_(fs),
      header_(header),
      disks_(in_canonical_order(std::move(disks))),
      header_bytes_(vma::encode_header(header, vma::kSectorSize)) {
    for (const auto& disk : disks_) {
        device_ids_.push_back(id_of(header, disk.name));
        fs_.advise(disk.file, 0, 0, POSIX_FADV_SEQUENTIAL);
        data_bytes_ += data_bytes_of(fs_, disk);
    }
    pieces_.push_back({.bytes = header_bytes_.data(), .size = header_bytes_.size()});
}

std::size_t ImageDump::read(std::span<iovec> into) {
    std::size_t done = 0;
    io::use_up(into, 0);
    while (!into.empty()) {
        if (pieces_.empty() && !make_extent()) break;
        auto& piece = pieces_.front();
        const auto count = hand_out(piece, into.front());
        if (piece.size == 0) pieces_.pop_front();
        io::use_up(into, count);
        done += count;
    }
    return done;
}

std::size_t ImageDump::hand_out(Piece& piece, iovec into) {
    auto* const to = static_cast<std::byte*>(into.iov_base);
    auto count = std::min(piece.size, into.iov_len);
    if (piece.bytes != nullptr) {
        std::memcpy(to, piece.bytes, count);
        piece.bytes += count;
    } else if (piece.image_offset) {
        count = read_image({to, count}, *piece.image_offset);
        *piece.image_offset += count;
    } else {
        std::memset(to, 0, count);
    }
    piece.size -= count;
    return count;
}

std::size_t ImageDump::read_image(std::span<std::byte> into, std::uint64_t offset) {
    const auto& disk = disks_[disk_];
    read_ahead(offset);
    if (io::read_fully_at(fs_, disk.file, into, offset) < into.size())
        throw base::Error(disk.file.path() + " became shorter while it was read");
    done_bytes_ = std::min(done_bytes_ + into.size(), data_bytes_);
    return into.size();
}

void ImageDump::read_ahead(std::uint64_t offset) {
    ahead_ = std::max(ahead_, offset);
    while (ahead_ < std::min(offset + 2 * kWindow, data_.end)) {
        fs_.advise(disks_[disk_].file, ahead_, kWindow, POSIX_FADV_WILLNEED);
        ahead_ += kWindow;
    }
}

/// Nothing at the end. An archive without disks has an extent all the same.
bool ImageDump::make_extent() {
    while (disk_ < disks_.size() && cluster_ * vma::kClusterSize >= disks_[disk_].size_bytes) next_disk();
    if (disk_ == disks_.size() && (!disks_.empty() || has_extent_)) return false;
    has_extent_ = true;
    pieces_.push_back({.bytes = extent_header_.data(), .size = extent_header_.size()});
    std::array<vma::BlockInfo, vma::kSlotsPerExtent> slots{};
    for (unsigned i = 0; i < canon::kClustersPerRegion && disk_ < disks_.size(); ++i, ++cluster_) {
        if (cluster_ * vma::kClusterSize >= disks_[disk_].size_bytes) break;
        slots[i] = make_cluster(cluster_);
    }
    extent_header_ = vma::encode_extent_header(slots, header_.uuid);
    return true;
}

void ImageDump::next_disk() {
    require_unchanged(fs_, disks_[disk_]);
    ++disk_;
    cluster_ = 0;
    data_ = {};
    ahead_ = 0;
}

vma::BlockInfo ImageDump::make_cluster(std::uint64_t cluster) {
    vma::BlockInfo info{.device_id = device_ids_[disk_], .cluster = static_cast<std::uint32_t>(cluster)};
    auto offset = cluster * vma::kClusterSize;
    if (!has_data(offset, vma::kClusterSize)) return info;
    for (unsigned block = 0; block < vma::kBlocksPerCluster; ++block, offset += vma::kBlockSize) {
        if (!has_data(offset, vma::kBlockSize)) continue;
        info.mask = static_cast<std::uint16_t>(info.mask | 1U << block);
        add_block(offset);
    }
    return info;
}

/// Whether any of these bytes of the disk is in no hole. Offsets ascend.
bool ImageDump::has_data(std::uint64_t offset, std::size_t size) {
    const auto end = disks_[disk_].size_bytes;
    if (data_.end <= offset)
        data_ = io::next_data(fs_, disks_[disk_].file, offset, end).value_or(io::DataRange{end, end});
    return offset < data_.end && data_.begin < offset + size;
}

/// What lies past the end of the disk is zero.
void ImageDump::add_block(std::uint64_t offset) {
    const auto size = std::min<std::uint64_t>(vma::kBlockSize, disks_[disk_].size_bytes - offset);
    auto& last = pieces_.back();
    if (last.image_offset && *last.image_offset + last.size == offset)
        last.size += size;
    else
        pieces_.push_back({.image_offset = offset, .size = size});
    if (size < vma::kBlockSize) pieces_.push_back({.size = vma::kBlockSize - size});
}

}  // namespace vmad::repack
