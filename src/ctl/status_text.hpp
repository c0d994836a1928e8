// What vmactl status shows: the daemon and its queue at a glance. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "api/status.hpp"
#include "ctl/console.hpp"

namespace vmad::ctl {

/// `waiting`: all jobs that wait, in order of their ids; the first few are shown. Made for 80 columns and
/// more.
[[nodiscard]] std::string status_text(const api::Status& status, const std::vector<api::Job>& waiting,
                                      std::int64_t now, const Console& console);

}  // namespace vmad::ctl
