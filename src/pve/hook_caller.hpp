// The vzdump in whose hook this process runs, as far as it is still there.
//
// vzdump may be killed while a script of its hook goes on. Whoever waits in such a script waits for nobody
// then. Reads /proc and the environment, and changes nothing. Any thread.
#pragma once

namespace vmad::pve {

/// True when the hook that started us, one of our ancestors, goes on after its vzdump has died. The hook
/// names both in $VMAD_HOOK, "HOOK VZDUMP". False outside of a hook, and for what a script of the hook has
/// left in the background: it is no longer below the hook.
[[nodiscard]] bool hook_is_abandoned();

}  // namespace vmad::pve
