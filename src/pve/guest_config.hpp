// What the config of a virtual machine says, as vzdump puts it into an archive. Pure; any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace vmad::pve {

/// Its name in an archive.
inline constexpr std::string_view kGuestConfig = "qemu-server.conf";

/// The name of the guest; empty when it has none.
[[nodiscard]] std::string guest_name(std::string_view config);

/// The disks of an archive that its config assigns to the guest, in lines that vzdump adds:
/// "#qmdump#map:scsi0:drive-scsi0:STORAGE:FORMAT:". Proxmox VE restores no archive that has a disk without
/// one.
[[nodiscard]] std::vector<std::string> mapped_disks(std::string_view config);

}  // namespace vmad::pve
