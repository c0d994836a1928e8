// The numbers of the VMA format, version 1, and the plain types that reader and writer share.
//
// Source: Proxmox's vma_spec.txt and, where that is silent, what its writer and reader do with an archive.
// On disk all integers are big-endian, but for the length of a blob, which is little-endian.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/integers.hpp"

namespace vmad::vma {

inline constexpr std::size_t kBlockSize = 4096;
inline constexpr unsigned kBlocksPerCluster = 16;
inline constexpr std::size_t kClusterSize = kBlockSize * kBlocksPerCluster;
inline constexpr std::size_t kSectorSize = 512;

/// Slots for clusters in an extent header; Proxmox's writer uses the first 58.
inline constexpr unsigned kSlotsPerExtent = 59;
inline constexpr std::size_t kExtentHeaderSize = 512;
inline constexpr std::size_t kMaxExtentPayload = kSlotsPerExtent * kClusterSize;

/// The part of the header before the blob area.
inline constexpr std::size_t kFixedHeaderSize = 12288;
/// More than 256 configs and 255 device names of the largest size need (50.3 MB).
inline constexpr std::uint32_t kMaxHeaderSize = 64 << 20;
inline constexpr unsigned kConfigSlots = 256;
/// dev_info has 256 slots; 0 marks an unused blockinfo, 255 is reserved.
inline constexpr unsigned kDeviceSlots = 256;
inline constexpr unsigned kMaxDeviceId = 254;
inline constexpr std::size_t kMaxBlobSize = 65535;
inline constexpr std::uint64_t kMaxDeviceSize = std::uint64_t{1} << 48;

using Uuid = std::array<std::byte, 16>;

/// A disk of the guest.
struct Device {
    std::uint8_t id = 0;           ///< 1 to kMaxDeviceId
    std::string name;              ///< without the terminating NUL, unique, not empty
    std::uint64_t size_bytes = 0;  ///< a multiple of kSectorSize, 1 sector to kMaxDeviceSize
    /// At most 2^32, so that every cluster's number fits in 32 bits.
    [[nodiscard]] std::uint64_t cluster_count() const noexcept {
        return base::divide_up<std::uint64_t>(size_bytes, kClusterSize);
    }
    friend bool operator==(const Device&, const Device&) = default;
};

/// A file beside the disks, for example qemu-server.conf.
struct Config {
    std::string name;  ///< without the terminating NUL, not empty
    std::string data;
    friend bool operator==(const Config&, const Config&) = default;
};

/// What an archive says before its first extent.
struct Header {
    Uuid uuid{};
    std::uint64_t ctime = 0;       ///< seconds since the epoch
    std::uint32_t size_bytes = 0;  ///< header_size: where the first extent begins
    std::vector<Config> configs;   ///< in the order of their slots
    std::vector<Device> devices;   ///< by ascending id
    /// The device with this id, or nullptr. Valid as long as the header is not changed.
    [[nodiscard]] const Device* device(std::uint8_t id) const noexcept;
};

/// One slot of an extent header: which blocks of a cluster follow.
struct BlockInfo {
    std::uint16_t mask = 0;      ///< bit n: block n is stored; blocks whose bit is clear are zero
    std::uint8_t device_id = 0;  ///< 0: the slot is not used
    std::uint32_t cluster = 0;   ///< counted from the start of the device
    friend bool operator==(const BlockInfo&, const BlockInfo&) = default;
};

/// How many bytes the stored blocks of a cluster with this mask take.
[[nodiscard]] inline std::size_t stored_bytes(std::uint16_t mask) noexcept {
    return static_cast<std::size_t>(std::popcount(mask)) * kBlockSize;
}

struct ExtentHeader {
    std::uint16_t block_count = 0;  ///< blocks that follow: the sum of the masks' bits
    std::array<BlockInfo, kSlotsPerExtent> slots{};
    [[nodiscard]] std::size_t payload_bytes() const noexcept { return block_count * kBlockSize; }
};

/// MD5 of `bytes` with the 16 bytes at `field` taken as zero, as header and extents carry it.
[[nodiscard]] std::array<std::byte, 16> checksum(const std::byte* bytes, std::size_t size, std::size_t field);

/// True when `field` holds that checksum. A build for fuzzing, and no other, takes any: no fuzzer guesses an
/// MD5.
[[nodiscard]] bool has_checksum(const std::byte* bytes, std::size_t size, std::size_t field);

}  // namespace vmad::vma
