// What vmactl status shows: the daemon and its queue at a glance. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "api/guest_summary.hpp"
#include "api/status.hpp"
#include "ctl/text/console.hpp"

namespace vmad::ctl {

/// Why vzdump does not announce backups to vmad, as far as it does not.
struct HookWarning {
    bool not_enabled = false;
    std::vector<std::string> overriding_jobs;  ///< ids of jobs with a script of their own
};

/// Made for 80 columns and more.
[[nodiscard]] std::string status_text(const api::Status& status, const HookWarning& hook, std::int64_t now,
                                      const Console& console);

/// A table with an empty line before it: what is new in the backups of each guest, in a day and in a week;
/// the guests with most of it. Empty when no backup was compared with another.
[[nodiscard]] std::string growth_table(std::vector<api::GuestSummary> guests, const Console& console);

}  // namespace vmad::ctl
