// What vmactl status shows: the daemon and its queue at a glance. Pure.
#pragma once

#include <cstdint>
#include <string>

#include "api/status.hpp"
#include "ctl/text/console.hpp"
#include "ctl/text/hook_notice.hpp"

namespace vmad::ctl {

/// Made for 80 columns and more.
[[nodiscard]] std::string status_text(const api::Status& status, const HookNotice& hook, std::int64_t now,
                                      const Console& console);

}  // namespace vmad::ctl
