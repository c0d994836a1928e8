#include "base/duration_text.hpp"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <string_view>

#include <fmt/format.h>

#include "base/error.hpp"

namespace vmad::base {

namespace {

struct Unit {
    std::string_view name;
    std::int64_t seconds;
};

/// The largest first.
constexpr Unit kUnits[] = {{"d", 24 * 60 * 60}, {"h", 60 * 60}, {"min", 60}, {"s", 1}};

}  // namespace

std::int64_t parse_duration(const std::string& text) {
    std::uint64_t number = 0;  // unsigned, so that a sign is refused
    const auto* end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data(), end, number);
    std::string_view name(rest, static_cast<std::size_t>(end - rest));
    if (name.starts_with(' ')) name.remove_prefix(1);
    const auto* unit = std::find_if(std::begin(kUnits), std::end(kUnits),
                                    [&](const Unit& known) { return known.name == name; });
    if (error == std::errc::invalid_argument || unit == std::end(kUnits))
        throw UsageError(fmt::format(
            "\"{}\" is no length of time: write a number and s, min, h or d, for example 15min", text));
    if (error == std::errc::result_out_of_range ||
        number > static_cast<std::uint64_t>(INT64_MAX / unit->seconds))
        throw UsageError(fmt::format("\"{}\" is longer than anyone waits", text));
    return static_cast<std::int64_t>(number) * unit->seconds;
}

std::string duration_text(std::int64_t seconds) {
    const auto* unit = std::find_if(std::begin(kUnits), std::end(kUnits), [&](const Unit& known) {
        return seconds != 0 ? seconds % known.seconds == 0 : known.seconds == 1;
    });
    return fmt::format("{}{}", seconds / unit->seconds, unit->name);
}

}  // namespace vmad::base
