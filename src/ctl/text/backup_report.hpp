// What became of the backups of a period, by guest and storage: how large they are, how much of each is new,
// what failed, what is damaged, and what was not verified lately.
//
// Computed from what the daemon knows; backup_report_text and backup_report_page show it. A backup belongs to
// the time when it was made, not when it was repacked. Pure, but for the time zone.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "api/archive_record.hpp"
#include "api/job.hpp"

namespace vmad::ctl {

/// What a report is made of. Times are seconds since the epoch.
struct ReportInput {
    std::string host;
    std::int64_t since = 0;
    std::int64_t now = 0;
    std::int64_t verify_seconds = 0;  ///< an archive that nobody found good for longer is reported
    std::vector<api::Job> jobs;       ///< all that the daemon keeps, in order of their ids
    std::vector<api::ArchiveRecord> archives;
};

struct BackupSums {
    std::uint64_t backups = 0;
    std::uint64_t bytes = 0;
    // Of those that were compared with a backup before them.
    std::uint64_t compared_backups = 0;
    std::uint64_t compared_bytes = 0;
    std::uint64_t new_bytes = 0;
    friend bool operator==(const BackupSums&, const BackupSums&) = default;
};

struct ReportedGuest {
    std::optional<std::uint64_t> vmid;  ///< none: archives whose names say nothing of a guest
    std::string storage;                ///< or the directory, where no storage was named
    std::string name;                   ///< may be empty
};

struct GuestReport {
    ReportedGuest guest;
    BackupSums sums;                      ///< of the period
    std::vector<BackupSums> slots{};      ///< the same, as BackupReport::slot_begins has it
    std::optional<std::int64_t> last_at;  ///< of the newest backup, also one before the period
    // Of the archives that are there, whenever they were made.
    std::uint64_t archives = 0;
    std::uint64_t archive_bytes = 0;
    std::optional<std::int64_t> verified_at;  ///< last good look at the one of which it is longest ago
    std::uint64_t unverified = 0;             ///< not found good lately, and not damaged
};

struct StorageReport {
    std::string storage;
    std::uint64_t guests = 0;
    BackupSums sums{};
    std::uint64_t archives = 0;
    std::uint64_t archive_bytes = 0;
};

/// The backup of a guest in the period that has most that is new.
struct GrowthReport {
    ReportedGuest guest;
    std::string path;
    std::int64_t backup_at = 0;
    std::uint64_t size_bytes = 0;
    api::NewSince since;
};

/// Jobs of a guest that have failed and still count, for another reason than damage.
struct FailureReport {
    ReportedGuest guest;
    std::uint64_t jobs = 0;
    api::Job last;
};

struct DamageReport {
    ReportedGuest guest;
    std::string path;
    std::int64_t backup_at = 0;
    std::string fault;                         ///< one sentence
    std::vector<api::DamagedPlace> places;     ///< the first ones, as far as they are known
    std::optional<std::int64_t> last_good_at;  ///< when it was last found good
};

struct BackupReport {
    std::string host;
    std::int64_t since = 0;
    std::int64_t now = 0;
    std::int64_t verify_seconds = 0;
    /// Midnights at which the slots of time begin, and the one at which the last slot ends.
    std::vector<std::int64_t> slot_begins{};
    std::uint32_t days_per_slot = 1;
    BackupSums sums{};
    std::vector<BackupSums> slots{};
    std::uint64_t archives = 0;  ///< that are there
    std::uint64_t archive_bytes = 0;
    std::uint64_t pending_jobs = 0;         ///< repack jobs that have not ended
    std::uint64_t unverified = 0;           ///< archives
    std::vector<StorageReport> storages{};  ///< by name
    std::vector<GuestReport> guests{};      ///< with most new bytes first
    std::vector<GrowthReport> growths{};    ///< the largest first, at most kMaxGrowths
    std::vector<FailureReport> failures{};  ///< the last first
    std::vector<DamageReport> damages{};    ///< the newest backup first
};

inline constexpr std::size_t kMaxSlots = 35;
inline constexpr std::size_t kMaxGrowths = 10;

[[nodiscard]] BackupReport backup_report(const ReportInput& input);

/// The disk that most of the new bytes come from; null when there is none.
[[nodiscard]] const api::DiskGrowth* largest_growth(const api::NewSince& since) noexcept;

void to_json(nlohmann::json& out, const BackupReport& report);

}  // namespace vmad::ctl
