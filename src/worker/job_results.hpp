// The results of a job that did not come to its end as it should.
#pragma once

#include <string>

#include "api/worker_messages.hpp"

namespace vmad::worker {

[[nodiscard]] api::WorkerResult failed(const std::string& reason);
/// The archive is at fault, so the next run would say the same of this version of the file
/// (publish::file_version()).
[[nodiscard]] api::WorkerResult refused(const std::string& reason, const std::string& version);
[[nodiscard]] api::WorkerResult waits(api::WaitReason what, const std::string& reason);
[[nodiscard]] api::WorkerResult is_locked();

/// What the exception in flight means for the job. `version`: of the file that was read, or empty. Passes on
/// what is neither an error of ours nor of the system.
[[nodiscard]] api::WorkerResult result_of_failure(const std::string& version);

}  // namespace vmad::worker
