// Jobs of the daemon as words, lines, cells and tables of text. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "api/job.hpp"
#include "ctl/text/console.hpp"
#include "ctl/text/progress_bar.hpp"

namespace vmad::ctl {

/// The colour for good, bad and unfinished states.
[[nodiscard]] Colour colour_of(api::JobState state) noexcept;

/// What a job has come to: its state, or of a verify job "verified" and "damaged".
[[nodiscard]] const char* state_text(const api::Job& job) noexcept;

/// "VM 104 web, 2026-01-31 02:00"; the name of a file that is no backup of vzdump's.
[[nodiscard]] std::string job_label(const api::Job& job);

/// The guest's number; empty when the archive's name does not have it.
[[nodiscard]] std::string vmid_text(const api::Job& job);

/// Of what its state makes the time that matters: when it was queued, started or ended, or when it is tried
/// again. "3 min ago", "in 5 min".
[[nodiscard]] std::string when_text(const api::Job& job, std::int64_t now);

/// "3.7 GiB → 3.6 GiB", as far as the sizes are known; of a verify job only one, which stays.
[[nodiscard]] std::string sizes_text(const api::Job& job);

/// "3 % saved", "1 % more"; empty when a size is not known or was 0, and of a verify job.
[[nodiscard]] std::string saving_text(const api::Job& job);

/// "3 %", "< 1 %"; of nothing 0 %.
[[nodiscard]] std::string share_text(std::uint64_t part, std::uint64_t whole);

/// "37 MiB new since 27 Nov (3 %)", or since "02:00" of the same day; empty where there is no backup before.
[[nodiscard]] std::string new_text(const api::Job& job, std::int64_t now);

/// "1.2 GiB, 37 MiB new since 27 Nov (3 %)"; as sizes_text() where there is no backup before.
[[nodiscard]] std::string result_text(const api::Job& job, std::int64_t now);

/// Where a disk has grown: "30 MiB, 21 MiB of it in 2 (ext4), at 12.3 to 12.6 GiB".
[[nodiscard]] std::string growth_text(const api::DiskGrowth& disk);

/// How long the last run took: "2 min 5 s"; empty when it did not run.
[[nodiscard]] std::string elapsed_text(const api::Job& job);

/// "42 %, 1.3 of 3.7 GiB, 212 MiB/s, 1 min 3 s left", as far as it is known.
[[nodiscard]] std::string progress_text(const api::JobProgress& progress);

/// What the administrator can do about a job, in one line; empty when it takes care of itself.
[[nodiscard]] std::string advice_for(const api::Job& job);

/// "scsi0: 2.0 MiB at 12 GiB, partition 2 (ext4)". Printable.
[[nodiscard]] std::string place_text(const api::DamagedPlace& place);

/// What a progress line shows of a running job.
[[nodiscard]] ProgressView progress_view(const api::Job& job);

/// A line of titles and one for each job, which says of what kind it is where not all are repacks; with lines
/// below it for the path where its name is not one of vzdump's, for the progress and for the reason; empty
/// without jobs.
[[nodiscard]] std::string job_table(const std::vector<api::Job>& jobs, std::int64_t now,
                                    const Console& console);

/// Prints a job as one line of JSON, as org.vmad.Queue has it.
void print_json(Console& console, const api::Job& job);

}  // namespace vmad::ctl
