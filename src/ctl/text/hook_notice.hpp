// What `vmactl status` has to say about the hook: why vmad does not hear of backups. One thread.
#pragma once

#include <string>
#include <vector>

#include "io/file_system.hpp"

namespace vmad::ctl {

struct HookNotice {
    bool not_enabled = false;
    std::vector<std::string> overriding_jobs;  ///< ids of jobs with a script of their own
};

/// Looks at this node (base::system_path). Nothing to say where there is no Proxmox VE, or about a file that
/// cannot be read. Throws nothing.
[[nodiscard]] HookNotice hook_notice(io::FileSystem& fs) noexcept;

}  // namespace vmad::ctl
