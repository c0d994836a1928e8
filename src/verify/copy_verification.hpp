// Verifies, by reading it back from its device, that a repacked archive is canonical and holds what its
// source held.
//
// On a disk that does not rotate the copy is read behind its writer: each part as soon as it is on the
// device, while the next ones are written. Elsewhere, where reading and writing at once would hinder each
// other, it is read when it is complete. What is checked is the same. One thread, that of the writer; reads
// and computes in threads of its own.
#pragma once

#include <future>

#include "base/error.hpp"
#include "base/task.hpp"
#include "codec/archive_format.hpp"
#include "io/file_system.hpp"
#include "io/written_boundary.hpp"
#include "verify/survey.hpp"

namespace vmad::verify {

/// The copy is not what it must be. It must not replace the original.
class VerificationError : public base::Error {
  public:
    using Error::Error;
};

/// What an archive holds, as far as two archives of the same backup agree on it.
struct Fingerprint {
    canon::Digest digest;
    std::map<std::string, canon::Digest> devices;  ///< by name
    std::vector<vma::Config> configs;
    std::uint64_t ctime = 0;
    friend bool operator==(const Fingerprint&, const Fingerprint&) = default;
};

/// When a copy is read back.
enum class ReadBack {
    behind_writer,  ///< while it is written
    afterwards,     ///< when it is complete
};

/// What suits the storage that `file`, open and empty, lies on.
[[nodiscard]] ReadBack fitting_read_back(io::FileSystem& fs, const io::File& file);

class CopyVerification {
  public:
    /// Of the copy that is to be written to `file`. The references, and what `options` refers to, outlive
    /// this object.
    CopyVerification(io::FileSystem& fs, const io::File& file, codec::ArchiveFormat format,
                     base::TaskOptions options, ReadBack read_back);
    CopyVerification(const CopyVerification&) = delete;
    CopyVerification& operator=(const CopyVerification&) = delete;
    /// Abandons a verification that has not finished. Never throws.
    ~CopyVerification();

    /// The first `bytes` bytes of the copy are on the device; more than before. Throws what has been found
    /// wrong with them by now, as finish() does.
    void written(std::uint64_t bytes);
    /// The copy is complete and synced: reads what is left. Throws VerificationError when it is not a valid
    /// canonical archive of the format with this content, SystemError, Cancelled.
    void finish(const Fingerprint& expected);

  private:
    [[nodiscard]] Survey read_behind_writer();
    [[nodiscard]] Survey read_whole();
    [[nodiscard]] Survey result();

    io::FileSystem& fs_;
    const io::File& file_;
    codec::ArchiveFormat format_;
    base::TaskOptions options_;
    io::WrittenBoundary boundary_;
    std::future<Survey> survey_;  ///< of the thread that reads behind the writer; none when nothing does
};

}  // namespace vmad::verify
