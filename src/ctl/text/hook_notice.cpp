#include "ctl/text/hook_notice.hpp"

#include <fcntl.h>

#include "base/system_path.hpp"
#include "pve/hook_node.hpp"
#include "pve/vzdump_config.hpp"

namespace vmad::ctl {

HookNotice hook_notice(io::FileSystem& fs) noexcept {
    HookNotice notice;
    try {
        const pve::HookNode node(fs, base::system_path(""));
        if (!node.find("/etc/pve", O_PATH | O_DIRECTORY) && !node.find(pve::kVzdumpConfigFile, O_PATH))
            return notice;
        // One after the other: what was found stays when the rest cannot be read.
        notice.not_enabled = !node.tells_vmad(node.script());
        for (const auto& job : node.overriding_jobs()) notice.overriding_jobs.push_back(job.id);
    } catch (...) {
        // Not what was asked for; `vmactl hook status` says what is wrong.
    }
    return notice;
}

}  // namespace vmad::ctl
