// Whoever else writes to an archive: what is replaced under them is lost, and what they have written by
// halves is not damaged.
#pragma once

#include "io/file_system.hpp"

namespace vmad::publish {

/// True when another process has the archive open for writing; false, too, where the kernel cannot tell
/// (io::tells_writers()). Of this moment: ReplaceFile::publish() and recover() ask for themselves.
[[nodiscard]] bool is_open_for_writing(io::FileSystem& fs, const io::File& archive);

}  // namespace vmad::publish
