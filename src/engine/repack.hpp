// The engine: copies an archive into the canonical layout in one pass over its source.
//
// The way of the bytes: codec/archive_source → vma/archive_reader → canon/digest and repack/assembler →
// repack/extent_writer (canon/sealed_extent, codec/frame_encoder) → repack/archive_output →
// repack/ordered_writer; then, when the caller has synced the copy, repack/proof.
#pragma once

#include <functional>

#include "codec/archive_source.hpp"
#include "codec/frame_encoder.hpp"
#include "engine/spill_file.hpp"
#include "io/byte_sink.hpp"
#include "verify/proof.hpp"

namespace vmad::engine {

struct AssembledExtent;

inline constexpr std::uint64_t kDefaultMemoryBytes = std::uint64_t{256} << 20;
inline constexpr std::uint64_t kMinMemoryBytes = std::uint64_t{16} << 20;

struct RepackOptions {
    access::TaskOptions task;
    codec::ArchiveKind kind = codec::ArchiveKind::raw;  ///< of the result
    int zstd_level = codec::kDefaultZstdLevel;
    /// For payload that waits for its turn; some tens of MiB for what is being read and written come on top.
    std::uint64_t memory_bytes = kDefaultMemoryBytes;
    SpillPlace spill;  ///< for what the memory has no room for
    /// Tests only: may spoil an extent before it is sealed, to show that the proof notices. Any thread.
    std::function<void(AssembledExtent&)> spoil;
};

struct RepackResult {
    verify::Fingerprint fingerprint;  ///< of the source, for verify::prove()
    std::uint64_t archive_bytes = 0;  ///< of the source, uncompressed
    std::uint64_t source_bytes = 0;   ///< of the source, as it is stored
    std::uint64_t result_bytes = 0;   ///< of the result, as it is stored
    std::uint64_t reread_bytes = 0;   ///< of the source, read a second time because memory was short
    std::uint64_t spilled_bytes = 0;  ///< written to the spill file, for the same reason
};

/// Writes the canonical form of `source` to `sink`, which is neither synced nor closed. The same archive
/// gives the same bytes (but for lzo), for any number of threads and any memory. Throws base::FormatError or
/// Unsupported for a bad source, io::NoSpace, SystemError, Cancelled, or what the sink throws; what was
/// written is to be thrown away then.
[[nodiscard]] RepackResult repack(io::FileSystem& fs, codec::ArchiveSource& source, io::ByteSink& sink,
                                  const RepackOptions& options);

}  // namespace vmad::engine
