// What the daemon knows of archives as tables: when they were verified, and how. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "api/archive_record.hpp"
#include "ctl/text/console.hpp"

namespace vmad::ctl {

/// A row for each guest on each storage: those with damaged archives first, which are named below it, then
/// those with overdue ones. `every_seconds`: how often each archive is to be read, if that is set. Empty
/// without records.
[[nodiscard]] std::string verified_guests_table(const std::vector<api::ArchiveRecord>& records,
                                                std::optional<std::int64_t> every_seconds, std::int64_t now,
                                                const Console& console);

/// The same for each archive.
[[nodiscard]] std::string verified_archives_table(const std::vector<api::ArchiveRecord>& records,
                                                  std::optional<std::int64_t> every_seconds, std::int64_t now,
                                                  const Console& console);

}  // namespace vmad::ctl
