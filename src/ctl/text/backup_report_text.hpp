// A report for people: as text for a terminal, and the words that the page has in common with it. Pure, but
// for the locale and the time zone of the environment.
#pragma once

#include <string>
#include <string_view>

#include "ctl/text/backup_report.hpp"
#include "ctl/text/console.hpp"

namespace vmad::ctl {

/// Made for 80 columns and more. Of long lists only the first entries are shown, unless `whole`.
[[nodiscard]] std::string report_text(const BackupReport& report, bool whole, const Console& console);

// All of these are printable.

/// "Backups on pve1, 22 Nov to 29 Nov 2026"
[[nodiscard]] std::string title_text(const BackupReport& report);
/// "1 backup", "7 backups"
[[nodiscard]] std::string counted(std::uint64_t count, std::string_view noun);
/// "VM 104 web"; "other archives" when there is no number
[[nodiscard]] std::string guest_label(const ReportedGuest& guest);
/// "3", "0.4", "<0.1" of a hundred; empty when there is no whole.
[[nodiscard]] std::string percent_text(std::uint64_t part, std::uint64_t whole);
// Cells of tables; "-" for nothing.
[[nodiscard]] std::string size_cell(const BackupSums& sums);
[[nodiscard]] std::string new_cell(const BackupSums& sums);
[[nodiscard]] std::string percent_cell(const BackupSums& sums);
/// "3 d ago", "never"
[[nodiscard]] std::string verified_cell(const GuestReport& row, std::int64_t now);

/// "3 archives, 37 GiB"; "none"
[[nodiscard]] std::string kept_text(std::uint64_t archives, std::uint64_t bytes);
/// "42 of 6 guests, 512 GiB, of it 37 GiB new (7 %)"
[[nodiscard]] std::string sums_text(const BackupReport& report);
/// "not counted as new: 2 backups (3.0 GiB) without a previous one"; or empty
[[nodiscard]] std::string uncompared_text(const BackupSums& sums);
/// "per day", "per week", "per 14 days"
[[nodiscard]] std::string slot_text(const BackupReport& report);
/// "scsi0: 1.9 GiB, 1.2 GiB of it in partition 2 (ext4), at 12 GiB to 14 GiB"; empty when it is not known
[[nodiscard]] std::string largest_growth_text(const api::NewSince& since);
/// "last found good 3 d ago, 2026-11-26 02:00"
[[nodiscard]] std::string last_good_text(std::int64_t at, std::int64_t now);
/// "3 archives, one never verified", "1 archive, last verified 45 d ago"
[[nodiscard]] std::string unverified_text(const GuestReport& guest, std::int64_t now);

/// Jobs that failed and still count.
[[nodiscard]] std::uint64_t failed_jobs(const BackupReport& report);
/// Those that have archives, and none of the period.
[[nodiscard]] std::vector<const GuestReport*> guests_without_backup(const BackupReport& report);
/// Those with archives that were not verified lately.
[[nodiscard]] std::vector<const GuestReport*> unverified_guests(const BackupReport& report);

}  // namespace vmad::ctl
