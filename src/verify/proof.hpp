// Proves, by reading it back, that a repacked archive is canonical and holds what its source held.
#pragma once

#include <string>

#include "access/task_options.hpp"
#include "base/error.hpp"
#include "canon/digest.hpp"
#include "codec/archive_source.hpp"
#include "vma/format.hpp"

namespace vmad::verify {

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
    codec::ArchiveKind kind = codec::ArchiveKind::raw;
    vma::Header header;
    canon::Digest digest;
    std::uint64_t extent_count = 0;
    std::uint64_t archive_bytes = 0;  ///< uncompressed
    std::uint64_t stored_bytes = 0;   ///< as it was read: of the file
    /// Why it is not in the canonical layout: the first departure, with its byte offset; empty when it is.
    std::string departure;
    std::string notice;  ///< what was odd about how it is stored, though it could be read; or empty
};

/// Reads an archive to its end and checks every rule of the format. Throws base::FormatError, Unsupported,
/// SystemError.
[[nodiscard]] Survey survey(codec::ArchiveSource& source, const access::TaskOptions& options);

/// Reads `file`, which was synced before, from the device rather than from the page cache. Throws ProofError
/// when it is not a valid canonical archive of this kind with the same content.
void prove(io::FileSystem& fs, const io::File& file, codec::ArchiveKind kind, const Fingerprint& expected,
           const access::TaskOptions& options);

}  // namespace vmad::verify
