// A look at what is to be queued: whether it is a VM's backup, as far as its name and its first bytes say.
#pragma once

#include <string>

#include "io/file_system.hpp"

namespace vmad::ctl {

/// Throws base::UsageError that says what `path` is, when it is anything but a regular file that begins as a
/// VMA archive of a known format does; base::Unsupported for a format that vzdump does not write; and
/// base::SystemError when it cannot be read. An archive that is damaged or not complete yet passes.
void require_archive(io::FileSystem& fs, const std::string& path);

}  // namespace vmad::ctl
