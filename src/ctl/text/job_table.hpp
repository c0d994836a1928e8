// Jobs as a table that fits the terminal. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "api/job.hpp"
#include "ctl/text/console.hpp"

namespace vmad::ctl {

/// A line of titles and one for each job, with a line below it that gives the reason if there is one; empty
/// without jobs.
[[nodiscard]] std::string job_table(const std::vector<api::Job>& jobs, std::int64_t now,
                                    const Console& console);

}  // namespace vmad::ctl
