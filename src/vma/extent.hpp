// Parsing and writing of an extent header, the 512 bytes before up to 59 clusters. Pure: no I/O, any thread.
#pragma once

#include <span>

#include "vma/format.hpp"

namespace vmad::vma {

/// Where slot `slot` stands in an extent header.
[[nodiscard]] constexpr std::size_t slot_offset(unsigned slot) noexcept { return 40 + std::size_t{8} * slot; }

/// Parses the extent header at byte `offset` of the archive: magic, checksum, uuid of the archive,
/// block_count. What the slots say of devices and clusters is not looked at; ClusterMap does. Throws
/// base::FormatError.
[[nodiscard]] ExtentHeader parse_extent_header(std::span<const std::byte, kExtentHeaderSize> bytes,
                                               const Uuid& uuid, std::uint64_t offset);

/// The bytes of an extent header; block_count is computed from the masks.
[[nodiscard]] std::array<std::byte, kExtentHeaderSize> encode_extent_header(
    std::span<const BlockInfo, kSlotsPerExtent> slots, const Uuid& uuid);

}  // namespace vmad::vma
