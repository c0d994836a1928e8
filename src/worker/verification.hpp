// A verify job: reads one archive, compares it with the digest that it was published with, and names what is
// damaged. Never writes to the storage.
#pragma once

#include <string>

#include "access/checksum_store.hpp"
#include "api/worker_messages.hpp"
#include "base/task.hpp"
#include "io/file_system.hpp"

namespace vmad::worker {

struct VerificationOptions {
    base::TaskOptions task;
    const access::ChecksumStore& store;  ///< gets those of an archive that is good
};

/// The result: done, failed when the archive is damaged, vanished, or waiting. Sets `version` to that of the
/// file (publish::file_version()) once it is open. Throws publish::StorageMissing, base::Unsupported and
/// other base::Errors, and base::Cancelled.
[[nodiscard]] api::WorkerResult verify_archive(io::FileSystem& fs, const api::WorkerOrder& order,
                                               const VerificationOptions& options, std::string& version);

}  // namespace vmad::worker
