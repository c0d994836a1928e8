// Which paths a job can have: those that JSON can hold and the kernel takes as they stand.
#pragma once

#include <optional>
#include <string>

namespace vmad::queue {

/// One spelling for each path: without doubled slashes and "." components. Does not look at the file system.
[[nodiscard]] std::string normal_path(const std::string& path);

/// What is wrong with a path, such as "not absolute"; nothing when a job can have it.
[[nodiscard]] std::optional<std::string> fault_of_path(const std::string& path);

}  // namespace vmad::queue
