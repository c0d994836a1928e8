// What the name of a backup says: vzdump-qemu-VMID-YYYY_MM_DD-HH_MM_SS.vma[.zst|.gz|.lzo], which is how
// vzdump names archives and how Proxmox finds them again (PVE::Storage's archive_info). Nothing is looked up;
// any thread.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace vmad::pve {

/// How the names of vzdump's archives of virtual machines end. vmactl.bash has the same.
inline constexpr std::array<std::string_view, 4> kArchiveEndings{".vma", ".vma.zst", ".vma.gz", ".vma.lzo"};

/// A local time of the node that made the backup, as it stands in the name.
struct NameTime {
    int year = 0;
    int month = 0;  ///< 1 to 12
    int day = 0;    ///< 1 to 31
    int hour = 0;
    int minute = 0;
    int second = 0;
    friend auto operator<=>(const NameTime&, const NameTime&) = default;  // NOLINT(modernize-use-nullptr)
};

struct BackupName {
    std::uint64_t vmid = 0;
    NameTime time;
    friend bool operator==(const BackupName&, const BackupName&) = default;
};

/// `name` is without a directory. Nothing for every other name.
[[nodiscard]] std::optional<BackupName> parse_backup_name(std::string_view name);

/// When that was, in the time zone of this process: seconds since the epoch.
[[nodiscard]] std::int64_t epoch_seconds(const NameTime& time) noexcept;

/// Which of these names are backups of the same guest as `name`, made before it: the newest first. Names are
/// without a directory.
[[nodiscard]] std::vector<std::string> earlier_backups(const std::vector<std::string>& names,
                                                       std::string_view name);

/// Whether vzdump gives this name to backups of containers, which are no VMA archives. `name` is without a
/// directory.
[[nodiscard]] bool is_container_backup(std::string_view name) noexcept;

/// The guest that the last component of a path names, if it is the name of a backup.
[[nodiscard]] std::optional<std::uint64_t> vmid_of(std::string_view path);

/// When it says that the backup was made, in seconds since the epoch; nothing for every other name.
[[nodiscard]] std::optional<std::int64_t> backup_time_of(std::string_view path);

}  // namespace vmad::pve
