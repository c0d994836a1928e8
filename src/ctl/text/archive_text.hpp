// Backups as people know them: by guest and time instead of by the name of a file. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace vmad::ctl {

/// What the cells of a table say of a backup; "-" for what its name does not tell.
struct ArchiveCells {
    std::string vmid;
    std::string time;    ///< "01-31 02:00" in the year of `now`, else "2025-01-31"
    std::string format;  ///< "zst", "gz", "lzo" or "vma"
};
[[nodiscard]] ArchiveCells archive_cells(std::string_view path, std::int64_t now);

/// True for a name that vzdump gives: guest and time tell which backup it is.
[[nodiscard]] bool has_backup_name(std::string_view path);

/// "VM 104 web, 2026-01-31 02:00", as far as it is known; the name of a file that is no backup of vzdump's.
/// Printable.
[[nodiscard]] std::string archive_label(std::string_view path, std::string_view guest = {});

}  // namespace vmad::ctl
