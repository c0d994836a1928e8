#include "ctl/text/damage_text.hpp"

#include <fmt/format.h>

#include "access/device_choice.hpp"
#include "ctl/text/job_text.hpp"
#include "ctl/text/local_time.hpp"
#include "ctl/text/printable_text.hpp"

namespace vmad::ctl {

std::vector<api::DamagedPlace> damaged_places(const verify::Damage& damage) {
    std::vector<api::DamagedPlace> places;
    for (const auto& stretch : damage.stretches)
        if (places.size() < api::kMaxDamagedPlaces)
            places.push_back({stretch.disk, stretch.offset, stretch.bytes});
    return places;
}

std::string damage_text(const verify::Damage& damage, const std::vector<api::DamagedPlace>& places,
                        std::optional<std::int64_t> last_good_at) {
    std::string text;
    for (std::size_t i = 0; i < places.size(); ++i)
        text += damage.stretches[i].is_somewhere
                    ? fmt::format("  {}, somewhere in it\n", printable(access::short_name(places[i].disk)))
                    : fmt::format("  {}\n", place_text(places[i]));
    if (damage.stretches.size() > places.size())
        text += fmt::format("  and {} more places\n", damage.stretches.size() - places.size());
    if (!damage.note.empty()) text += fmt::format("  {}\n", damage.note);
    if (last_good_at) text += fmt::format("  last found good at {}\n", minute_time(*last_good_at));
    return text;
}

}  // namespace vmad::ctl
