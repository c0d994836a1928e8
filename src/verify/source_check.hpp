// Whether a second reading of an archive gives what the first one gave: what a bad read returned would
// otherwise be what the copy holds, and what verification expects of it.
//
// The archive is read as its device holds it, past the page cache, and all of its bytes are compared, by
// checksums that were taken while it was read first. What gives the same wrong bytes twice is not found; nor
// are caches of a drive or of a server passed by. One thread at a time.
#pragma once

#include <optional>
#include <string>

#include "base/limits.hpp"
#include "base/task.hpp"
#include "codec/archive_source.hpp"
#include "io/file_system.hpp"
#include "io/read_sums.hpp"

namespace vmad::verify {

/// Two readings of an archive differ: one of them was bad, and nobody knows which.
class ReadsDiffer : public base::Error {
  public:
    using Error::Error;
};

class SourceCheck {
  public:
    /// Of `file`, which has not been read yet, and outlives this object as do `fs` and what `task` refers to.
    /// Where nothing is to be read twice, the stage is reported as ended.
    SourceCheck(io::FileSystem& fs, const io::File& file, base::VerifySource when, base::TaskOptions task);

    /// For the first reading (codec::SourceOptions::sums); null where there will be no second one.
    [[nodiscard]] io::ReadSums* sums() noexcept { return sums_ ? &*sums_ : nullptr; }
    /// Of the first reading, as far as it is: to be called when its header is there, and at its end.
    void look_at(const codec::ArchiveSource& source);
    /// Reads the file once more, if that is needed. Returns a sentence about a disk that does not give it a
    /// second time, or nothing. Throws ReadsDiffer, even then, when what was read before differs;
    /// SystemError, Cancelled.
    [[nodiscard]] std::string finish();

  private:
    void read(io::ReadSums& sums);

    io::FileSystem& fs_;
    const io::File& file_;
    base::VerifySource when_;
    base::TaskOptions task_;
    std::optional<io::ReadSums> sums_;
    bool content_checked_ = false;
};

}  // namespace vmad::verify
