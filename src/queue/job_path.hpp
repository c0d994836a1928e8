// Which paths a job can have: those that JSON can hold and the kernel takes as they stand.
#pragma once

#include <optional>
#include <string>

namespace vmad::queue {

/// What is wrong with a path, such as "not absolute"; nothing when a job can have it.
[[nodiscard]] std::optional<std::string> fault_of_path(const std::string& path);

}  // namespace vmad::queue
