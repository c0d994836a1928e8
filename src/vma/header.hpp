// Parsing and writing of the archive header: fixed part, config and device tables, blob area.
//
// Parsing goes in visible steps and hands out nothing before all of it is checked; no number of the file
// sizes or indexes anything before it passed a limit. Pure: no I/O, any thread.
#pragma once

#include <span>
#include <vector>

#include "vma/format.hpp"

namespace vmad::vma {

/// Looks at the first kFixedHeaderSize bytes: magic, version and size. Returns header_size, between
/// kFixedHeaderSize + 1 sector and kMaxHeaderSize. Throws base::FormatError, or base::Unsupported for a
/// version that is not 1.
[[nodiscard]] std::uint32_t parse_header_size(std::span<const std::byte, kFixedHeaderSize> fixed);

/// Parses the whole header, header_size bytes. Throws base::FormatError with the byte and the rule, or
/// base::Unsupported for an archive with a vmstate device (a guest's RAM).
[[nodiscard]] Header parse_header(std::span<const std::byte> bytes);

/// The header as bytes: configs in their order, each name before its data, then the device names in byte
/// order; blob_buffer_size exact, everything reserved zero, the size rounded up to a multiple of `alignment`
/// (itself a multiple of kSectorSize). `header.size_bytes` is not looked at. Throws base::Error when the
/// parts do not fit the format's limits.
[[nodiscard]] std::vector<std::byte> encode_header(const Header& header, std::size_t alignment);

}  // namespace vmad::vma
