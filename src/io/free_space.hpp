// Room for a copy beside the original, without filling the disk to its last block.
#pragma once

#include <cstdint>

#include "io/file_system.hpp"

namespace vmad::io {

/// What is left free by default: 5 % of the file system, at most 1 GiB. 0 where it does not report its size.
[[nodiscard]] std::uint64_t default_reserve(FileSystem& fs, const File& on);

/// Throws NoSpace unless `more_bytes` fit on the file system of `on` with `reserve_bytes` left free. File
/// systems that do not report their size always have room.
void require_space(FileSystem& fs, const File& on, std::uint64_t more_bytes, std::uint64_t reserve_bytes);

}  // namespace vmad::io
