// The backup jobs of /etc/pve/jobs.cfg that have a hook script of their own, which vzdump runs instead of the
// one in /etc/vzdump.conf.
//
// Nothing else of a job is known here, and no script is looked at. Pure; any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace vmad::pve {

inline constexpr char kJobsFile[] = "/etc/pve/jobs.cfg";

struct BackupJob {
    std::string id;
    std::string script;
    bool runs_here = false;  ///< it is enabled, and not for another node
    friend bool operator==(const BackupJob&, const BackupJob&) = default;
};

struct BackupJobs {
    std::vector<BackupJob> jobs;        ///< in the order of the file
    std::vector<std::string> warnings;  ///< as in Sections
};

/// `path` is for warnings, `node` the name of this node.
[[nodiscard]] BackupJobs backup_jobs_with_script(std::string_view text, const std::string& path,
                                                 std::string_view node);

}  // namespace vmad::pve
