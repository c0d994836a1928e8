#include "support/archive_index.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <set>
#include <string_view>

namespace vmad::testing {

namespace {

/// Room for 256 configs and 254 names of 65535 bytes each, rounded up.
constexpr std::uint64_t kMaxHeaderBytes = std::uint64_t{64} << 20U;

void require(bool holds, std::uint64_t offset, const char* rule) {
    if (!holds) throw Refused(offset, rule);
}

bool starts_like(View bytes, std::string_view magic) {
    const auto size = std::min(bytes.size(), magic.size());
    return size == 0 || std::memcmp(bytes.data(), magic.data(), size) == 0;
}

/// The header alone: checked, and its blobs found.
class HeaderReader {
  public:
    explicit HeaderReader(View archive) : archive_(archive) {
        require(starts_like(archive, std::string_view("VMA\0", 4)), 0, "magic");
        require(archive.size() >= header_at::kEnd, archive.size(), "the file ends inside the header");
        require(field(header_at::kVersion) == 1, header_at::kVersion, "version");
        size_ = field(header_at::kHeaderSize);
        require(size_ > header_at::kEnd && size_ % 512 == 0 && size_ <= kMaxHeaderBytes,
                header_at::kHeaderSize, "header_size");
        require(size_ <= archive.size(), archive.size(), "the file ends inside the header");
        header_ = archive.first(size_);
        require(is_sealed(header_, header_at::kMd5), header_at::kMd5, "md5");
        find_blobs();
    }

    [[nodiscard]] std::uint64_t size() const { return size_; }

    void read_configs(ArchiveIndex& index) const {
        for (std::size_t i = 0; i < 256; ++i) {
            const std::size_t name_at = header_at::kConfigNames + 4 * i;
            const std::size_t data_at = header_at::kConfigData + 4 * i;
            if (field(name_at) == 0 && field(data_at) == 0) continue;
            require(field(name_at) != 0, name_at, "config without a name");
            require(field(data_at) != 0, data_at, "config without data");
            std::string config_name = name(name_at);
            index.configs.emplace_back(std::move(config_name), blob(data_at));
        }
    }

    void read_devices(ArchiveIndex& index) const {
        std::set<std::string> names;
        for (unsigned id = 0; id < 256; ++id) {
            const std::size_t name_at = header_at::kDevices + header_at::kDeviceBytes * id;
            const std::size_t size_at = name_at + header_at::kDeviceSize;
            const std::uint64_t size = get_be(&header_[size_at], 8);
            if (field(name_at) == 0 && size == 0) continue;
            require(id != 0 && id != 255, name_at, "device in a slot that is none");
            require(field(name_at) != 0, name_at, "device without a name");
            require(size != 0, size_at, "device without a size");
            const std::string device_name = name(name_at);
            require(device_name != "vmstate", name_at, "vmstate is not supported");
            require(names.insert(device_name).second, name_at, "two devices of one name");
            require(size % 512 == 0 && size <= kMaxDeviceBytes, size_at, "device size");
            index.devices[static_cast<std::uint8_t>(id)] = {device_name, size};
        }
    }

  private:
    [[nodiscard]] std::uint64_t field(std::size_t at) const { return get_be(&archive_[at], 4); }

    void find_blobs() {
        const std::uint64_t begin = field(header_at::kBlobOffset);
        const std::uint64_t end = begin + field(header_at::kBlobSize);
        require(begin >= header_at::kEnd && begin <= size_, header_at::kBlobOffset, "blob_buffer_offset");
        require(end <= size_, header_at::kBlobSize, "blob_buffer_size");
        // What does not make a whole blob at the end of the area is slack.
        for (std::uint64_t at = begin + 1; at + 2 <= end;) {
            const std::uint64_t length = get_le(&header_[at], 2);
            if (at + 2 + length <= end) blobs_[at - begin] = header_.subspan(at + 2, length);
            at += 2 + length;
        }
    }

    [[nodiscard]] View blob(std::size_t pointer_at) const {
        const auto found = blobs_.find(field(pointer_at));
        require(found != blobs_.end(), pointer_at, "pointer to no blob");
        return found->second;
    }

    [[nodiscard]] std::string name(std::size_t pointer_at) const {
        const View bytes = blob(pointer_at);
        const std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        require(text.find('\0') == text.size() - 1, pointer_at, "a name is text that ends in its only NUL");
        require(text.size() > 1, pointer_at, "empty name");
        return text.substr(0, text.size() - 1);
    }

    View archive_;
    View header_;
    std::uint64_t size_ = 0;
    std::map<std::uint64_t, View> blobs_;  // by pointer
};

/// Files the clusters of the extent at `at`; returns where the next one starts.
std::uint64_t read_extent(ArchiveIndex& index, View archive, std::uint64_t at) {
    const View rest = archive.subspan(at);
    require(starts_like(rest, "VMAE"), at, "extent magic");
    require(rest.size() >= extent_at::kEnd, archive.size(), "the file ends inside an extent header");
    const View head = rest.first(extent_at::kEnd);
    require(is_sealed(head, extent_at::kMd5), at + extent_at::kMd5, "extent md5");
    require(get_be(&head[extent_at::kReserved], 2) == 0, at + extent_at::kReserved, "extent reserved");
    require(std::equal(&head[extent_at::kUuid], &head[extent_at::kMd5], &archive[header_at::kUuid]),
            at + extent_at::kUuid, "extent uuid");

    std::array<Slot, kSlotsPerExtent> slots;
    std::uint64_t block_count = 0;
    for (std::size_t i = 0; i < slots.size(); ++i) {
        slots[i] = Slot::load(&head[extent_at::kSlots + 8 * i]);
        if (slots[i].device != 0) block_count += static_cast<unsigned>(std::popcount(slots[i].mask));
    }
    require(get_be(&head[extent_at::kBlockCount], 2) == block_count, at + extent_at::kBlockCount,
            "block_count");
    require(rest.size() - head.size() >= block_count * kBlockBytes, archive.size(),
            "the file ends inside an extent");

    const std::byte* block = rest.data() + extent_at::kEnd;
    for (std::size_t i = 0; i < slots.size(); ++i) {
        const Slot& slot = slots[i];
        if (slot.device == 0) continue;
        const std::uint64_t slot_at = at + extent_at::kSlots + 8 * i;
        const auto device = index.devices.find(slot.device);
        require(device != index.devices.end(), slot_at, "unknown device");
        require(slot.cluster < clusters_of(device->second.size_bytes), slot_at, "cluster past the device");
        const auto [place, is_new] = index.clusters.try_emplace({slot.device, slot.cluster});
        require(is_new, slot_at, "cluster stored twice");
        for (unsigned b = 0; b < kBlocksPerCluster; ++b) {
            if ((slot.mask >> b & 1U) == 0) continue;
            place->second[b] = View(block, kBlockBytes);
            block += kBlockBytes;
        }
    }
    return at + extent_at::kEnd + block_count * kBlockBytes;
}

}  // namespace

ArchiveIndex::ArchiveIndex(View archive) {
    const HeaderReader header(archive);
    ctime = get_be(&archive[header_at::kCtime], 8);
    header.read_configs(*this);
    header.read_devices(*this);
    std::uint64_t expected = 0;
    for (const auto& [id, device] : devices) expected += clusters_of(device.size_bytes);
    require(expected <= (archive.size() - header.size()) / extent_at::kEnd * kSlotsPerExtent, archive.size(),
            "more clusters than the file can hold");
    require(archive.size() > header.size(), archive.size(), "the file ends before its first extent");
    for (std::uint64_t at = header.size(); at < archive.size();) {
        require(archive.size() - at >= extent_at::kEnd || clusters.size() < expected, at, "bytes follow");
        at = read_extent(*this, archive, at);
    }
    // None is there twice and none lies past a device, so equal numbers mean that each is there.
    require(clusters.size() == expected, archive.size(), "missing cluster");
}

}  // namespace vmad::testing
