// The ways in which vzdump stores an archive: as it is, or compressed by one of three programs.
//
// Told by content, because a name may lie; names count only for a file that is yet to be written.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>

#include "io/file_system.hpp"

namespace vmad::codec {

enum class ArchiveKind { raw, zstd, gzip, lzo };

/// How many first bytes of a file tell its kind. A shorter file is told by what it has.
inline constexpr std::size_t kKindBytes = 9;

/// The kind of a file that begins with `bytes`. What no compressor has written is `raw`: its reader says what
/// it is not. Throws base::Unsupported for bzip2 and xz, which vzdump does not write.
[[nodiscard]] ArchiveKind kind_of_content(std::span<const std::byte> bytes);

/// The kind of a regular file, by its first bytes. Throws as above, and base::SystemError.
[[nodiscard]] ArchiveKind kind_of_file(io::FileSystem& fs, const io::File& file);

/// The kind that a file of this name should have, by its ending: .vma, .zst, .gz or .lzo. Nothing for any
/// other.
[[nodiscard]] std::optional<ArchiveKind> kind_of_name(std::string_view name);

/// "raw", "zstd", "gzip" or "lzo".
[[nodiscard]] const char* kind_name(ArchiveKind kind) noexcept;

}  // namespace vmad::codec
