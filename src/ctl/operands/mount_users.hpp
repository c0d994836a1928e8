// Who uses a mount, by /proc and /sys alone: nothing is asked of the mount, which may not answer.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "base/unique_fd.hpp"

namespace vmad::ctl {

/// For people: "process 123 (bash)", "/dev/loop0"; as far as we may see them, at most ten.
[[nodiscard]] std::vector<std::string> users_of_mount(const std::string& mount_point);

/// The program that serves the mount at a directory, as a pidfd; nothing when there is none.
[[nodiscard]] std::optional<base::UniqueFd> mount_program_at(const std::string& mount_point);

/// Waits for the end of a process; a few seconds at most.
void wait_for_end(const base::UniqueFd& process) noexcept;

}  // namespace vmad::ctl
