// Jobs of the daemon as lines and cells of text. Pure.
#pragma once

#include <string>

#include "api/job.hpp"
#include "ctl/console.hpp"
#include "ctl/progress_bar.hpp"

namespace vmad::ctl {

/// The colour that tells good, bad and unfinished states apart.
[[nodiscard]] Colour colour_of(api::JobState state) noexcept;

/// "3.7 GiB → 3.6 GiB", as far as the sizes are known.
[[nodiscard]] std::string sizes_text(const api::Job& job);

/// How long the last run took: "2 min 5 s"; empty when it did not run.
[[nodiscard]] std::string duration_text(const api::Job& job);

/// What a progress line shows of a running job.
[[nodiscard]] ProgressView progress_view(const api::Job& job);

}  // namespace vmad::ctl
