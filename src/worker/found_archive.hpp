// What a run found out about its archive, for the daemon's catalogue.
#pragma once

#include <sys/stat.h>

#include <optional>

#include "api/worker_messages.hpp"
#include "io/file_system.hpp"

namespace vmad::worker {

/// What was known of the archive of the job, as far as it is of the file with this status; with what its name
/// and the status say.
[[nodiscard]] api::ArchiveRecord record_of(const api::WorkerOrder& order, const struct stat& status);

/// The record of an archive that a repack has published, left as it was or found damaged; nothing after any
/// other result, and where the archive cannot be looked at. Of a published one `result.record` has the
/// digests already.
[[nodiscard]] std::optional<api::ArchiveRecord> record_after_repack(io::FileSystem& fs,
                                                                    const api::WorkerOrder& order,
                                                                    const api::WorkerResult& result);

/// The record of an archive that a verify job could not read, so that the next one of the day is another:
/// what was known stays, but for when it was looked at. Nothing after any other result, and where the archive
/// is not there.
[[nodiscard]] std::optional<api::ArchiveRecord> record_after_failed_look(io::FileSystem& fs,
                                                                         const api::WorkerOrder& order,
                                                                         const api::WorkerResult& result);

}  // namespace vmad::worker
