// What Proxmox VE calls this host. Any thread.
#pragma once

#include <string>

namespace vmad::pve {

/// The host name up to its first dot. Throws base::SystemError.
[[nodiscard]] std::string node_name();

}  // namespace vmad::pve
