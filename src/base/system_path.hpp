// Where the files are that the system, not our settings, puts somewhere: /etc/pve/storage.cfg,
// /run/vzdump.lock, our own settings. Any thread.
#pragma once

#include <string>
#include <string_view>

namespace vmad::base {

/// `path`, which is absolute, behind the directory in the environment variable VMAD_ROOT, if there is one: so
/// that a test can have a node of its own.
[[nodiscard]] std::string system_path(std::string_view path);

}  // namespace vmad::base
