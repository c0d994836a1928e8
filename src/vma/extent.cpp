#include "vma/extent.hpp"

#include <bit>
#include <cstring>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/integers.hpp"

namespace vmad::vma {
namespace {

using base::FormatError;
using base::load_be;
using base::store_be;

constexpr std::size_t kReservedAt = 4;
constexpr std::size_t kBlockCountAt = 6;
constexpr std::size_t kUuidAt = 8;
constexpr std::size_t kMd5At = 24;
constexpr char kMagic[4] = {'V', 'M', 'A', 'E'};

unsigned stored_blocks(const BlockInfo& slot) {
    return slot.device_id == 0 ? 0 : static_cast<unsigned>(std::popcount(slot.mask));
}

}  // namespace

ExtentHeader parse_extent_header(std::span<const std::byte, kExtentHeaderSize> bytes, const Uuid& uuid,
                                 std::uint64_t offset) {
    if (std::memcmp(bytes.data(), kMagic, sizeof kMagic) != 0)
        throw FormatError(offset, "extent-magic", "no extent begins here: \"VMAE\" is missing");
    if (!has_checksum(bytes.data(), bytes.size(), kMd5At))
        throw FormatError(offset + kMd5At, "extent-md5", "the extent header's MD5 is wrong: it was damaged");
    if (load_be<std::uint16_t>(bytes.data() + kReservedAt) != 0)
        throw FormatError(offset + kReservedAt, "extent-reserved",
                          "reserved bytes of the extent header are not zero");
    if (std::memcmp(bytes.data() + kUuidAt, uuid.data(), uuid.size()) != 0)
        throw FormatError(offset + kUuidAt, "extent-uuid",
                          "the extent's uuid is not the archive's: it belongs to another archive");
    ExtentHeader header;
    header.block_count = load_be<std::uint16_t>(bytes.data() + kBlockCountAt);
    unsigned blocks = 0;
    for (unsigned i = 0; i < kSlotsPerExtent; ++i) {
        const auto info = load_be<std::uint64_t>(bytes.data() + slot_offset(i));
        // mask (16 bits), reserved (8), dev_id (8), cluster (32)
        header.slots[i] = {static_cast<std::uint16_t>(info >> 48), static_cast<std::uint8_t>(info >> 32),
                           static_cast<std::uint32_t>(info)};
        blocks += stored_blocks(header.slots[i]);
    }
    if (blocks != header.block_count)
        throw FormatError(
            offset + kBlockCountAt, "block-count",
            fmt::format("block_count is {}, but the masks name {} blocks", header.block_count, blocks));
    return header;
}

std::array<std::byte, kExtentHeaderSize> encode_extent_header(
    std::span<const BlockInfo, kSlotsPerExtent> slots, const Uuid& uuid) {
    std::array<std::byte, kExtentHeaderSize> bytes{};
    std::memcpy(bytes.data(), kMagic, sizeof kMagic);
    std::memcpy(bytes.data() + kUuidAt, uuid.data(), uuid.size());
    unsigned blocks = 0;
    for (unsigned i = 0; i < kSlotsPerExtent; ++i) {
        const auto& slot = slots[i];
        store_be(bytes.data() + slot_offset(i),
                 std::uint64_t{slot.mask} << 48 | std::uint64_t{slot.device_id} << 32 | slot.cluster);
        blocks += stored_blocks(slot);
    }
    store_be(bytes.data() + kBlockCountAt, static_cast<std::uint16_t>(blocks));
    const auto md5 = checksum(bytes.data(), bytes.size(), kMd5At);
    std::memcpy(bytes.data() + kMd5At, md5.data(), md5.size());
    return bytes;
}

}  // namespace vmad::vma
