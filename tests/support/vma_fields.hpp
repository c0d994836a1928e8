// Where the fields of a VMA archive lie, and the two checksums: all that the test writer, the reference
// reader and the damage table have in common. An opinion of its own: nothing here comes from src/.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace vmad::testing {

using Bytes = std::vector<std::byte>;
using View = std::span<const std::byte>;
using Uuid = std::array<std::byte, 16>;

inline constexpr std::uint64_t kBlockBytes = 4096;
inline constexpr std::uint64_t kClusterBytes = 65536;
inline constexpr unsigned kBlocksPerCluster = 16;
inline constexpr unsigned kSlotsPerExtent = 59;
inline constexpr std::uint64_t kMaxDeviceBytes = std::uint64_t{1} << 48U;

namespace header_at {
inline constexpr std::size_t kVersion = 4, kUuid = 8, kCtime = 24, kMd5 = 32, kBlobOffset = 48,
                             kBlobSize = 52, kHeaderSize = 56, kReserved = 60, kConfigNames = 2044,
                             kConfigData = 3068, kReserved2 = 4092, kDevices = 4096, kEnd = 12288;
inline constexpr std::size_t kDeviceSize = 8, kDeviceBytes = 32;  // within, and of, one entry of dev_info
}  // namespace header_at

namespace extent_at {
inline constexpr std::size_t kReserved = 4, kBlockCount = 6, kUuid = 8, kMd5 = 24, kSlots = 40, kEnd = 512;
}  // namespace extent_at

/// One used slot of an extent: 16 bits of mask, 8 reserved, 8 of device id, 32 of cluster number.
struct Slot {
    std::uint16_t mask = 0;
    std::uint8_t reserved = 0;
    std::uint8_t device = 0;
    std::uint32_t cluster = 0;
    [[nodiscard]] static Slot load(const std::byte* from);
    void store(std::byte* to) const;
};

/// Big-endian integers of `width` bytes.
[[nodiscard]] std::uint64_t get_be(const std::byte* from, std::size_t width);
void put_be(std::byte* to, std::size_t width, std::uint64_t value);
/// Little-endian, for blob lengths and the digest.
[[nodiscard]] std::uint64_t get_le(const std::byte* from, std::size_t width);
void put_le(std::byte* to, std::size_t width, std::uint64_t value);

[[nodiscard]] constexpr std::uint64_t clusters_of(std::uint64_t size_bytes) noexcept {
    return size_bytes / kClusterBytes + (size_bytes % kClusterBytes != 0 ? 1 : 0);
}
[[nodiscard]] bool all_zero(View bytes) noexcept;

/// MD5 over a header or an extent header with its 16 bytes at `md5_at` taken as zero.
[[nodiscard]] std::array<std::byte, 16> md5_of(View bytes, std::size_t md5_at);
/// Whether it stands in its place; a build for fuzzing takes any.
[[nodiscard]] bool is_sealed(View bytes, std::size_t md5_at);
/// Stores that MD5 in its place.
void seal(std::span<std::byte> bytes, std::size_t md5_at);

}  // namespace vmad::testing
