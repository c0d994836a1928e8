// Makes vzdump run vmad's hook, and undoes that: the work of `vmactl hook enable` and `disable`.
//
// vzdump takes one script, so the one that it ran before becomes the first that the hook runs. Each step is
// durable before the next begins, and they are in such an order that vzdump runs that script, itself or by
// the hook, whichever step fails. What to report to the administrator is for the caller. One thread.
#pragma once

#include <string>
#include <vector>

#include "pve/hook_node.hpp"

namespace vmad::pve {

struct HookChange {
    bool changed = false;
    /// The script that vzdump ran itself before enabling, or does again after disabling; empty for none.
    std::string earlier;
    /// By the entry of kHookDirectory that vmad has made; else it was there already.
    bool linked = false;
    /// Disabling removed the file, because enabling had made it.
    bool removed_file = false;
};

/// Nothing changes where vzdump announces backups to vmad already. Throws base::Error when the hook cannot be
/// run, base::UsageError when the earlier script cannot be run from kHookDirectory, base::SystemError.
[[nodiscard]] HookChange enable_hook(const HookNode& node);

/// Where the script is not the hook, nothing changes but what an earlier call left that failed. Throws
/// base::Error when kEarlierScriptName is a link to what no script can be, base::SystemError.
[[nodiscard]] HookChange disable_hook(const HookNode& node);

}  // namespace vmad::pve
