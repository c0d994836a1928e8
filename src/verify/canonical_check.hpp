// Tells, without reading all of it, whether an archive is canonical already.
#pragma once

#include "base/task.hpp"
#include "io/file_system.hpp"

namespace vmad::verify {

enum class Canonical {
    yes,  ///< header and extent headers are; or vmad has published the file as it is now
    no,
    unknown,  ///< it would have to be decompressed
};

/// Of a raw archive reads 512 bytes in every 2 MiB, of a zstd one with a seek table the first block of each
/// frame: what the blocks hold is not looked at. For gzip and lzo the extended attribute of a published
/// archive tells. `no` also for what is no valid archive. Reports progress as
/// Stage::verifying. Throws base::SystemError,
/// base::Cancelled.
[[nodiscard]] Canonical canonical_by_headers(io::FileSystem& fs, const io::File& file,
                                             const base::TaskOptions& task);

}  // namespace vmad::verify
