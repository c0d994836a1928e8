// The engine: copies an archive into the canonical layout in one pass over its source.
//
// The way of the bytes: vma/archive_reader → canon/digest and repack/assembler → canon/sealed_extent →
// repack/ordered_writer; then, when the caller has synced the copy, repack/proof.
#pragma once

#include <functional>

#include "repack/proof.hpp"

namespace vmad::repack {

struct AssembledExtent;

inline constexpr std::uint64_t kDefaultMemoryBytes = std::uint64_t{256} << 20;

struct RepackOptions {
    TaskOptions task;
    /// For payload that waits for its turn; some tens of MiB for what is being read and written come on top.
    std::uint64_t memory_bytes = kDefaultMemoryBytes;
    io::CacheUse source_cache = io::CacheUse::keep;
    /// Called with a number of bytes before so many more are written; throws when there is no room for them.
    std::function<void(std::uint64_t)> before_write;
    /// Tests only: may spoil an extent before it is sealed, to show that the proof notices.
    std::function<void(AssembledExtent&)> spoil;
};

struct RepackResult {
    Fingerprint fingerprint;  ///< of the source, for prove()
    std::uint64_t source_bytes = 0;
    std::uint64_t result_bytes = 0;
    std::uint64_t reread_bytes = 0;  ///< of the source, read a second time because memory was short
};

/// Writes the canonical form of `source`, a regular file, to `destination`, an empty one. Neither is synced
/// or closed. Throws base::FormatError or Unsupported for a bad source, SystemError, Cancelled, or what
/// before_write throws; the destination is to be thrown away then.
[[nodiscard]] RepackResult repack(io::FileSystem& fs, const io::File& source, const io::File& destination,
                                  const RepackOptions& options);

}  // namespace vmad::repack
