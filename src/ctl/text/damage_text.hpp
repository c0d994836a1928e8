// What of an archive is damaged, for people and in JSON. Pure.
#pragma once

#include <string>
#include <vector>

#include "api/job.hpp"
#include "verify/archive_look.hpp"

namespace vmad::ctl {

/// The first ones, without partitions.
[[nodiscard]] std::vector<api::DamagedPlace> damaged_places(const verify::Damage& damage);

/// Lines below that of the archive, each ending with '\n': its places, what they are short of, and when it
/// was last good.
[[nodiscard]] std::string damage_text(const verify::Damage& damage,
                                      const std::vector<api::DamagedPlace>& places,
                                      std::optional<std::int64_t> last_good_at);

}  // namespace vmad::ctl
