// What the config of a virtual machine says, as vzdump puts it into an archive. Pure; any thread.
#pragma once

#include <string>
#include <string_view>

namespace vmad::pve {

/// Its name in an archive.
inline constexpr std::string_view kGuestConfig = "qemu-server.conf";

/// The name of the guest; empty when it has none.
[[nodiscard]] std::string guest_name(std::string_view config);

}  // namespace vmad::pve
