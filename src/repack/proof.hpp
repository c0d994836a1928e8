// Proves, by reading it back, that a repacked archive is canonical and holds what its source held.
#pragma once

#include <string>

#include "base/cancel.hpp"
#include "base/error.hpp"
#include "base/progress.hpp"
#include "canon/digest.hpp"
#include "io/byte_source.hpp"
#include "vma/format.hpp"

namespace vmad::repack {

/// The copy is not what it must be. It must not replace the original.
class ProofError : public base::Error {
  public:
    using Error::Error;
};

/// What an archive holds, as far as two archives of the same backup agree on it.
struct Fingerprint {
    canon::Digest digest;
    std::vector<vma::Config> configs;
    std::uint64_t ctime = 0;
    friend bool operator==(const Fingerprint&, const Fingerprint&) = default;
};

/// How an archive looks from outside and inside, learnt by reading all of it.
struct Survey {
    vma::Header header;
    canon::Digest digest;
    std::uint64_t extent_count = 0;
    std::uint64_t size_bytes = 0;
    /// Why it is not in the canonical layout: the first departure, with its byte offset; empty when it is.
    std::string departure;
};

/// How a task over an archive runs. What it refers to outlives the task.
struct TaskOptions {
    unsigned threads = 1;  ///< that compute, beside the one that reads; at least 1
    const base::CancelFlag* cancel = nullptr;
    base::ProgressSink progress;
};

/// Reads an archive and checks every rule of the format. Throws base::FormatError, Unsupported, SystemError.
[[nodiscard]] Survey survey(io::ByteSource& source, const TaskOptions& options);

/// Reads `file`, which was synced before, from the device rather than from the page cache. Throws ProofError
/// when it is not a valid canonical archive with the same content.
void prove(io::FileSystem& fs, const io::File& file, const Fingerprint& expected, const TaskOptions& options);

/// True when the header and all extent headers are those of the canonical layout. Reads those only, 512 bytes
/// of every 3.7 MiB: what the blocks hold is not looked at. False also for what is no valid archive.
[[nodiscard]] bool has_canonical_headers(io::FileSystem& fs, const io::File& file,
                                         const base::CancelFlag& cancel);

/// The number of computing threads that a hypervisor can spare: half of its processors, at most 4.
[[nodiscard]] unsigned default_threads() noexcept;

}  // namespace vmad::repack
