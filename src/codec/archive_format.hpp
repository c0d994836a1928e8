// The ways in which vzdump stores an archive: as it is, or compressed by one of three programs.
//
// Told by content, because a name may lie; names count only for a file that is yet to be written.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "io/file_system.hpp"

namespace vmad::codec {

enum class ArchiveFormat { raw, zstd, gzip, lzo };

/// How many first bytes of a file tell its format. A shorter file is judged by what it has.
inline constexpr std::size_t kFormatBytes = 9;

/// The format of a file that begins with `bytes`. What no compressor has written is `raw`: its reader says
/// what it is not. Throws base::Unsupported for bzip2 and xz, which vzdump does not write.
[[nodiscard]] ArchiveFormat format_of_content(std::span<const std::byte> bytes);

/// The format of a regular file, by its first bytes. Throws as above, and base::SystemError.
[[nodiscard]] ArchiveFormat format_of_file(io::FileSystem& fs, const io::File& file);

/// The format that a file of this name should have, by its ending: .vma, .zst, .gz or .lzo. Nothing for a
/// name that says nothing. Throws base::UsageError for an ending that stands for something else, such as
/// .bz2, .qcow2 or .tar.zst.
[[nodiscard]] std::optional<ArchiveFormat> format_of_name(std::string_view name);

/// What is wrong with a name that ends as another format does: Proxmox VE goes by it. Empty when nothing is.
[[nodiscard]] std::string name_warning(std::string_view name, ArchiveFormat format);

/// "raw", "zstd", "gzip" or "lzo".
[[nodiscard]] const char* format_name(ArchiveFormat format) noexcept;

}  // namespace vmad::codec
