// Checks that an archive is in the canonical layout, part by part. Pure; any thread.
//
// For a reader that has already checked the rules of the format. Shares the plan of the layout with the
// engine, but neither its placing of clusters nor its sealing of extents.
#pragma once

#include <optional>

#include "canon/layout.hpp"
#include "vma/format.hpp"

namespace vmad::canon {

/// True when the header is, byte for byte, the one that `layout` (made from it) has.
[[nodiscard]] bool is_canonical_header(const std::vector<std::byte>& raw_header, const Layout& layout);

/// True when the extent's header is the one that `plan` asks for, whatever masks it has.
[[nodiscard]] bool is_canonical_extent(const std::array<std::byte, vma::kExtentHeaderSize>& raw_header,
                                       const vma::ExtentHeader& header, const ExtentPlan& plan);

/// The length of an extent with this header and its payload, when the header is the one that `plan` asks for.
/// Nothing for any other, a damaged one too.
[[nodiscard]] std::optional<std::size_t> canonical_extent_bytes(
    const std::array<std::byte, vma::kExtentHeaderSize>& raw_header, const ExtentPlan& plan);

/// True when no block of the extent is all zero or past the device's end, and the tail of a block that the
/// end cuts is zero. `payload` holds header.payload_bytes() bytes.
[[nodiscard]] bool has_canonical_blocks(const vma::ExtentHeader& header, const ExtentPlan& plan,
                                        const std::byte* payload);

}  // namespace vmad::canon
