// The engine: copies an archive into the canonical layout in one pass over its source.
//
// The way of the bytes: codec/archive_source → vma/archive_reader → canon/digest and engine/assembler →
// engine/extent_writer (canon/sealed_extent, codec/frame_encoder) → engine/archive_output →
// engine/ordered_writer; then, when the caller has synced the copy, verify/verification.
#pragma once

#include "access/checksum_store.hpp"
#include "base/limits.hpp"
#include "codec/archive_source.hpp"
#include "codec/frame_encoder.hpp"
#include "engine/spill_file.hpp"
#include "io/byte_stream.hpp"
#include "verify/copy_verification.hpp"

namespace vmad::engine {

struct RepackOptions {
    base::TaskOptions task;
    codec::ArchiveFormat format = codec::ArchiveFormat::raw;  ///< of the result
    int zstd_level = base::kDefaultZstdLevel;
    /// Size of the reorder buffer; some tens of MiB for what is being read and written come on top.
    std::uint64_t memory_bytes = base::kDefaultMemoryBytes;
    SpillPlace spill;  ///< for what the memory has no room for
    /// Is given the checksums of the regions, unless the format is zstd: its seek table has them. May be
    /// null.
    access::ChecksumRecording* checksums = nullptr;
    /// Told the configs of the source once they are read. May be empty.
    std::function<void(const std::vector<vma::Config>&)> configs_read;
    /// The configs of the result, out of those of the source. Empty: the same.
    std::function<std::vector<vma::Config>(std::vector<vma::Config>)> edit_configs;
};

struct RepackResult {
    verify::Fingerprint fingerprint;  ///< of the source with its configs edited, for CopyVerification
    std::uint64_t archive_bytes = 0;  ///< of the source, uncompressed
    std::uint64_t source_bytes = 0;   ///< of the source, as it is stored
    std::uint64_t result_bytes = 0;   ///< of the result, as it is stored
    std::uint64_t reread_bytes = 0;   ///< of the source, read a second time because memory was short
    std::uint64_t spilled_bytes = 0;  ///< written to the spill file, for the same reason
};

/// Writes the canonical form of `source`, with its configs edited, to `sink`, which is neither synced nor
/// closed. The same archive gives the same bytes (but for lzo), for any number of threads and any memory.
/// Throws base::FormatError or Unsupported for a bad source, io::NoSpace, SystemError, Cancelled, or what the
/// sink throws; what was written is to be thrown away then.
[[nodiscard]] RepackResult repack(io::FileSystem& fs, codec::ArchiveSource& source, io::ByteSink& sink,
                                  const RepackOptions& options);

}  // namespace vmad::engine
