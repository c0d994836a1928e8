#include "vma/header.hpp"

#include <algorithm>
#include <cstring>
#include <map>
#include <set>
#include <string_view>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/integers.hpp"

namespace vmad::vma {
namespace {

using base::FormatError;
using base::load_be;
using base::load_le;
using base::store_be;
using base::store_le;

// Offsets in the header, by the field names of the specification.
constexpr std::size_t kVersionAt = 4;
constexpr std::size_t kUuidAt = 8;
constexpr std::size_t kCtimeAt = 24;
constexpr std::size_t kMd5At = 32;
constexpr std::size_t kBlobBufferOffsetAt = 48;
constexpr std::size_t kBlobBufferSizeAt = 52;
constexpr std::size_t kHeaderSizeAt = 56;
constexpr std::size_t kConfigNamesAt = 2044;
constexpr std::size_t kConfigDataAt = 3068;
constexpr std::size_t kDevInfoAt = 4096;
constexpr std::size_t kDevInfoSize = 32;
constexpr std::size_t kDevInfoSizeField = 8;
constexpr std::uint32_t kVersion = 1;
constexpr char kMagic[4] = {'V', 'M', 'A', '\0'};
constexpr std::string_view kVmstate = "vmstate";

/// The blobs of a header by their pointers: offsets into the blob area, 0 meaning none.
class BlobArea {
  public:
    explicit BlobArea(std::span<const std::byte> header) : header_(header) {
        begin_ = load_be<std::uint32_t>(header.data() + kBlobBufferOffsetAt);
        const auto size = load_be<std::uint32_t>(header.data() + kBlobBufferSizeAt);
        if (begin_ < kFixedHeaderSize || begin_ > header.size())
            throw FormatError(kBlobBufferOffsetAt, "blob-area",
                              fmt::format("blob_buffer_offset {} is outside the {} bytes behind the tables",
                                          begin_, header.size() - kFixedHeaderSize));
        if (size > header.size() - begin_)
            throw FormatError(kBlobBufferSizeAt, "blob-area",
                              fmt::format("blob_buffer_size {} goes past the header's end", size));
        // Only blobs that something points to are kept: a header can hold 32 million empty ones.
        const auto wanted = pointers();
        // Byte 0 is never part of a blob, so that pointer 0 can mean "none".
        for (std::size_t at = 1; at + 2 <= size;) {
            const std::size_t length = load_le<std::uint16_t>(header.data() + begin_ + at);
            if (length > size - at - 2) break;  // what is no blob cannot be pointed to either
            if (wanted.contains(static_cast<std::uint32_t>(at)))
                blobs_.emplace(static_cast<std::uint32_t>(at), length);
            at += 2 + length;
        }
    }

    /// The bytes of the blob that the pointer at byte `field` names; `what` says whose it is.
    [[nodiscard]] std::string_view get(std::size_t field, const std::string& what) const {
        const auto pointer = load_be<std::uint32_t>(header_.data() + field);
        const auto found = blobs_.find(pointer);
        if (found == blobs_.end())
            throw FormatError(field, "blob-pointer",
                              fmt::format("{} points to {}, where no blob begins", what, pointer));
        const auto* bytes = reinterpret_cast<const char*>(header_.data() + begin_ + pointer + 2);
        return {bytes, found->second};
    }

    /// The same for a name: ends in its only NUL, and something stands before it.
    [[nodiscard]] std::string name(std::size_t field, const std::string& what) const {
        const auto blob = get(field, what);
        if (blob.empty() || blob.back() != '\0')
            throw FormatError(field, "name", fmt::format("{} does not end in a NUL byte", what));
        const auto name = blob.substr(0, blob.size() - 1);
        if (name.empty()) throw FormatError(field, "name", fmt::format("{} is empty", what));
        if (name.find('\0') != name.npos)
            throw FormatError(field, "name", fmt::format("{} has a NUL byte inside", what));
        return std::string(name);
    }

  private:
    [[nodiscard]] std::set<std::uint32_t> pointers() const {
        std::set<std::uint32_t> result;
        const auto add = [&](std::size_t at) { result.insert(load_be<std::uint32_t>(header_.data() + at)); };
        for (unsigned slot = 0; slot < kConfigSlots; ++slot) {
            add(kConfigNamesAt + std::size_t{4} * slot);
            add(kConfigDataAt + std::size_t{4} * slot);
        }
        for (unsigned id = 0; id < kDeviceSlots; ++id) add(kDevInfoAt + kDevInfoSize * id);
        return result;
    }

    std::span<const std::byte> header_;
    std::size_t begin_ = 0;
    std::map<std::uint32_t, std::size_t> blobs_;  // pointer -> length
};

std::vector<Config> parse_configs(std::span<const std::byte> bytes, const BlobArea& blobs) {
    std::vector<Config> configs;
    for (unsigned slot = 0; slot < kConfigSlots; ++slot) {
        const auto name_at = kConfigNamesAt + std::size_t{4} * slot;
        const auto data_at = kConfigDataAt + std::size_t{4} * slot;
        const bool has_name = load_be<std::uint32_t>(bytes.data() + name_at) != 0;
        const bool has_data = load_be<std::uint32_t>(bytes.data() + data_at) != 0;
        if (!has_name && !has_data) continue;
        if (!has_data)
            throw FormatError(data_at, "config", fmt::format("config {} has a name but no data", slot));
        if (!has_name)
            throw FormatError(name_at, "config", fmt::format("config {} has data but no name", slot));
        configs.push_back({blobs.name(name_at, fmt::format("the name of config {}", slot)),
                           std::string(blobs.get(data_at, fmt::format("the data of config {}", slot)))});
    }
    return configs;
}

void check_device_slot(std::size_t at, unsigned id) {
    if (id == 0) throw FormatError(at, "device-slot", "device slot 0 is used; it stands for \"no device\"");
    if (id > kMaxDeviceId)
        throw FormatError(at, "device-slot", fmt::format("device slot {} is used; it is reserved", id));
}

void check_device_size(std::size_t at, const Device& device) {
    const auto size = device.size_bytes;
    if (size == 0) throw FormatError(at, "device-size", fmt::format("device {} has size 0", device.name));
    if (size % kSectorSize != 0)
        throw FormatError(at, "device-size",
                          fmt::format("the size of device {}, {}, is not a multiple of {}", device.name, size,
                                      kSectorSize));
    if (size > kMaxDeviceSize)
        throw FormatError(at, "device-size",
                          fmt::format("the size of device {}, {}, is over the limit of {}", device.name, size,
                                      kMaxDeviceSize));
}

std::vector<Device> parse_devices(std::span<const std::byte> bytes, const BlobArea& blobs) {
    std::vector<Device> devices;
    std::set<std::string> names;
    for (unsigned id = 0; id < kDeviceSlots; ++id) {
        const auto at = kDevInfoAt + kDevInfoSize * id;
        const auto size_at = at + kDevInfoSizeField;
        const bool has_name = load_be<std::uint32_t>(bytes.data() + at) != 0;
        const auto size = load_be<std::uint64_t>(bytes.data() + size_at);
        if (!has_name && size == 0) continue;
        check_device_slot(at, id);
        if (!has_name)
            throw FormatError(at, "device-name", fmt::format("device {} has a size but no name", id));
        Device device{static_cast<std::uint8_t>(id), blobs.name(at, fmt::format("the name of device {}", id)),
                      size};
        check_device_size(size_at, device);
        if (!names.insert(device.name).second)
            throw FormatError(at, "device-name", fmt::format("device name {} is used twice", device.name));
        if (device.name == kVmstate)
            throw base::Unsupported(
                fmt::format("at byte {}: device vmstate: archives with a guest's RAM are not "
                            "supported",
                            at));
        devices.push_back(std::move(device));
    }
    return devices;
}

/// Appends blobs behind the tables and sets the pointers to them.
class BlobWriter {
  public:
    explicit BlobWriter(std::vector<std::byte>& bytes) : bytes_(bytes) {
        bytes_.resize(kFixedHeaderSize + 1);
    }
    void add(std::size_t pointer_at, std::string_view blob, bool terminate) {
        const auto length = blob.size() + (terminate ? 1 : 0);
        if (length > kMaxBlobSize)
            throw base::Error(fmt::format("a name or config of {} bytes does not fit a VMA header", length));
        const auto at = bytes_.size();
        store_be(bytes_.data() + pointer_at, static_cast<std::uint32_t>(at - kFixedHeaderSize));
        bytes_.resize(at + 2 + length);
        store_le(bytes_.data() + at, static_cast<std::uint16_t>(length));
        std::memcpy(bytes_.data() + at + 2, blob.data(), blob.size());
    }

  private:
    std::vector<std::byte>& bytes_;
};

}  // namespace

std::uint32_t parse_header_size(std::span<const std::byte, kFixedHeaderSize> fixed) {
    if (std::memcmp(fixed.data(), kMagic, sizeof kMagic) != 0)
        throw FormatError(0, "header-magic", "not a VMA archive: bad magic");
    const auto version = load_be<std::uint32_t>(fixed.data() + kVersionAt);
    if (version != kVersion)
        throw base::Unsupported(fmt::format("at byte {}: VMA version {} is not supported, only version {}",
                                            kVersionAt, version, kVersion));
    const auto size = load_be<std::uint32_t>(fixed.data() + kHeaderSizeAt);
    if (size <= kFixedHeaderSize || size > kMaxHeaderSize)
        throw FormatError(kHeaderSizeAt, "header-size",
                          fmt::format("header_size {} is not between {} and {}", size,
                                      kFixedHeaderSize + kSectorSize, kMaxHeaderSize));
    if (size % kSectorSize != 0)
        throw FormatError(kHeaderSizeAt, "header-size",
                          fmt::format("header_size {} is not a multiple of {}", size, kSectorSize));
    return size;
}

Header parse_header(std::span<const std::byte> bytes) {
    const auto size = parse_header_size(bytes.first<kFixedHeaderSize>());
    if (bytes.size() != size)
        throw FormatError(bytes.size(), "header-truncated",
                          fmt::format("the header of {} bytes is cut off", size));
    if (!has_checksum(bytes.data(), bytes.size(), kMd5At))
        throw FormatError(kMd5At, "header-md5", "the header's MD5 is wrong: it was damaged");
    Header header;
    std::memcpy(header.uuid.data(), bytes.data() + kUuidAt, header.uuid.size());
    header.ctime = load_be<std::uint64_t>(bytes.data() + kCtimeAt);
    header.size_bytes = size;
    const BlobArea blobs(bytes);
    header.configs = parse_configs(bytes, blobs);
    header.devices = parse_devices(bytes, blobs);
    return header;
}

std::vector<std::byte> encode_header(const Header& header, std::size_t alignment) {
    if (header.configs.size() > kConfigSlots)
        throw base::Error("more than 256 configs do not fit a VMA header");
    std::vector<std::byte> bytes;
    BlobWriter blobs(bytes);
    for (std::size_t i = 0; i < header.configs.size(); ++i) {
        blobs.add(kConfigNamesAt + 4 * i, header.configs[i].name, true);
        blobs.add(kConfigDataAt + 4 * i, header.configs[i].data, false);
    }
    auto devices = header.devices;
    std::sort(devices.begin(), devices.end(),
              [](const Device& a, const Device& b) { return a.name < b.name; });
    for (const auto& device : devices) {
        const auto at = kDevInfoAt + kDevInfoSize * device.id;
        blobs.add(at, device.name, true);
        store_be(bytes.data() + at + kDevInfoSizeField, device.size_bytes);
    }
    const auto blob_size = bytes.size() - kFixedHeaderSize;
    bytes.resize(base::round_up(bytes.size(), alignment));
    std::memcpy(bytes.data(), kMagic, sizeof kMagic);
    store_be(bytes.data() + kVersionAt, kVersion);
    std::memcpy(bytes.data() + kUuidAt, header.uuid.data(), header.uuid.size());
    store_be(bytes.data() + kCtimeAt, header.ctime);
    store_be(bytes.data() + kBlobBufferOffsetAt, static_cast<std::uint32_t>(kFixedHeaderSize));
    store_be(bytes.data() + kBlobBufferSizeAt, static_cast<std::uint32_t>(blob_size));
    store_be(bytes.data() + kHeaderSizeAt, static_cast<std::uint32_t>(bytes.size()));
    const auto md5 = checksum(bytes.data(), bytes.size(), kMd5At);
    std::memcpy(bytes.data() + kMd5At, md5.data(), md5.size());
    return bytes;
}

}  // namespace vmad::vma
