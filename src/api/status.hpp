// What the daemon says about itself and its queue, and its one JSON form (QueueStatus in the description,
// where the method has the name). Pure data, no thread rule.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "api/job.hpp"

namespace vmad::api {

/// Ended jobs in a Status, at most.
inline constexpr std::size_t kMaxRecentJobs = 20;

/// The number of jobs in each state.
class JobCounts {
  public:
    [[nodiscard]] std::uint64_t& operator[](JobState state) noexcept {
        return by_state_[static_cast<std::size_t>(state)];
    }
    [[nodiscard]] std::uint64_t operator[](JobState state) const noexcept {
        return by_state_[static_cast<std::size_t>(state)];
    }
    friend bool operator==(const JobCounts&, const JobCounts&) = default;

  private:
    std::array<std::uint64_t, kJobStateNames.size()> by_state_{};
};

struct Status {
    std::string version;
    std::int64_t pid = 0;
    std::int64_t started_at = 0;  ///< seconds since the epoch
    std::string state_dir;
    std::uint32_t workers = 0;  ///< jobs that may run at a time
    JobCounts counts;
    std::vector<Job> active;  ///< running and publishing
    std::vector<Job> recent;  ///< ended last, the newest first, at most kMaxRecentJobs
    friend bool operator==(const Status&, const Status&) = default;
};

/// Reading throws base::Error that names the field; unknown fields are ignored.
void to_json(nlohmann::json& out, const JobCounts& counts);
void from_json(const nlohmann::json& in, JobCounts& counts);
void to_json(nlohmann::json& out, const Status& status);
void from_json(const nlohmann::json& in, Status& status);

}  // namespace vmad::api
