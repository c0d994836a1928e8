// The names of files in the making: random, so that nobody has guessed or used them before, and of forms by
// which they are known again.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace vmad::io {

/// What the names of all files in the making begin with, beside archives and elsewhere. Such names belong to
/// this program.
inline constexpr std::string_view kReservedPrefix = ".vmad-";

inline constexpr std::size_t kRandomDigits = 16;

/// 64 random bits as kRandomDigits lower-case hexadecimal digits. Throws base::SystemError.
[[nodiscard]] std::string random_hex();

/// True for what random_hex() may give.
[[nodiscard]] bool is_random_hex(std::string_view text) noexcept;

/// What random_hex() gave, when `name` is `prefix`, that, and `suffix`; empty for every other name.
[[nodiscard]] std::string_view random_part(std::string_view name, std::string_view prefix,
                                           std::string_view suffix) noexcept;

/// True for the names that belong to this program: entries beginning with kReservedPrefix.
[[nodiscard]] bool is_reserved_name(std::string_view name) noexcept;

/// True for the names that write_durably() gives to files in the making: kReservedPrefix, random_hex(),
/// ".tmp".
[[nodiscard]] bool is_temporary_name(std::string_view name) noexcept;

}  // namespace vmad::io
