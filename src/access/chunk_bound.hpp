// How much of a canonical zstd archive a deduplicating tool stores at most, when it has another one already.
//
// Chunks do not end where regions do: what is beside a region that has changed is stored once more. For
// restic, and what cuts smaller chunks, the fillings bound that. Pure.
#pragma once

#include <cstdint>
#include <vector>

#include "access/region_checksums.hpp"

namespace vmad::access {

/// No chunk of restic is smaller, but the last one.
inline constexpr std::uint64_t kMinChunkBytes = std::uint64_t{512} << 10;

/// In bytes of the newer file, which has so many. Counts frames that are not the same, compressed, as in the
/// older archive; what stands less than a chunk of the least size before them; and what follows, until a
/// frame begins where a chunk of that size is full, so that a chunk ends there.
[[nodiscard]] std::uint64_t chunk_bound(const std::vector<DiskChecksums>& before,
                                        const std::vector<DiskChecksums>& after,
                                        std::uint64_t after_file_bytes);

}  // namespace vmad::access
