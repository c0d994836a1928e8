// Names for files that nobody has guessed or used before.
#pragma once

#include <string>

namespace vmad::io {

/// What the names of all files begin with that are made beside archives. Such names belong to this program.
inline constexpr char kReservedPrefix[] = ".vmad-";

/// 64 random bits as 16 lower-case hexadecimal digits. Throws base::SystemError.
[[nodiscard]] std::string random_hex();

}  // namespace vmad::io
