// Where vmactl keeps what an interrupted in-place run would leave to settle, and the locks of archives.
#pragma once

#include <string>

#include "io/file_system.hpp"

namespace vmad::ctl {

/// /var/lib/vmad for root, who shares the daemon's locks; else $XDG_STATE_HOME/vmad or ~/.local/state/vmad.
/// Throws base::UsageError when there is no home.
[[nodiscard]] std::string default_state_directory();

/// Makes an absolute path's directories as far as they are missing, mode 0700, and opens the last one.
[[nodiscard]] io::File make_directories(io::FileSystem& fs, const std::string& path);

}  // namespace vmad::ctl
