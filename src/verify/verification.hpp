// Verifies, by reading it back, that a repacked archive is canonical and holds what its source held.
#pragma once

#include <string>

#include "access/task_options.hpp"
#include "base/error.hpp"
#include "canon/digest.hpp"
#include "codec/archive_format.hpp"
#include "io/file_system.hpp"
#include "vma/format.hpp"

namespace vmad::verify {

/// The copy is not what it must be. It must not replace the original.
class VerificationError : public base::Error {
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

/// Reads `file`, which was synced before, from the device rather than from the page cache. Throws
/// VerificationError when it is not a valid canonical archive of this format with the same content.
void verify_copy(io::FileSystem& fs, const io::File& file, codec::ArchiveFormat format,
                 const Fingerprint& expected, const access::TaskOptions& options);

}  // namespace vmad::verify
