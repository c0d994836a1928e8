#include "base/units.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string_view>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/integers.hpp"

namespace vmad::base {
namespace {

/// Each is 1024 times the one before it.
constexpr std::string_view kSizeSuffixes = "KMG";

struct TimeUnit {
    std::string_view name;
    std::int64_t seconds;
};

/// The largest first.
constexpr std::array kTimeUnits{TimeUnit{"d", 24 * 60 * 60}, TimeUnit{"h", 60 * 60}, TimeUnit{"min", 60},
                                TimeUnit{"s", 1}};

}  // namespace

std::uint64_t parse_size(const std::string& text) {
    std::uint64_t number = 0;
    const auto* end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data(), end, number);
    const std::string_view suffix(rest, static_cast<std::size_t>(end - rest));
    const auto unit = suffix.empty() ? kSizeSuffixes.npos : kSizeSuffixes.find(suffix[0]);
    if (error == std::errc::invalid_argument || suffix.size() > 1 ||
        (!suffix.empty() && unit == kSizeSuffixes.npos))
        throw UsageError(
            fmt::format("invalid size \"{}\": write a number and K, M or G, for example 256M", text));
    const auto factor = suffix.empty() ? std::uint64_t{1} : std::uint64_t{1024} << (10 * unit);
    const auto size = checked_multiply(number, factor);
    if (error == std::errc::result_out_of_range || !size)
        throw UsageError(fmt::format("size \"{}\" is out of range", text));
    return *size;
}

std::string spell_size(std::uint64_t bytes) {
    constexpr std::uint64_t kStep = 1024;
    std::size_t unit = 0;
    for (; unit < kSizeSuffixes.size() && bytes != 0 && bytes % kStep == 0; ++unit) bytes /= kStep;
    return fmt::format("{}{}", bytes, unit == 0 ? "" : kSizeSuffixes.substr(unit - 1, 1));
}

std::int64_t parse_duration(const std::string& text) {
    std::uint64_t number = 0;  // unsigned, so that a sign is refused
    const auto* end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data(), end, number);
    std::string_view name(rest, static_cast<std::size_t>(end - rest));
    if (name.starts_with(' ')) name.remove_prefix(1);
    const auto* unit = std::find_if(kTimeUnits.begin(), kTimeUnits.end(),
                                    [&](const TimeUnit& known) { return known.name == name; });
    if (error == std::errc::invalid_argument || unit == kTimeUnits.end())
        throw UsageError(fmt::format(
            "invalid duration \"{}\": write a number and s, min, h or d, for example 15min", text));
    if (error == std::errc::result_out_of_range ||
        number > static_cast<std::uint64_t>(INT64_MAX / unit->seconds))
        throw UsageError(fmt::format("duration \"{}\" is out of range", text));
    return static_cast<std::int64_t>(number) * unit->seconds;
}

std::string spell_duration(std::int64_t seconds) {
    const auto* unit = std::find_if(kTimeUnits.begin(), kTimeUnits.end(), [&](const TimeUnit& known) {
        return seconds != 0 ? seconds % known.seconds == 0 : known.seconds == 1;
    });
    return fmt::format("{}{}", seconds / unit->seconds, unit->name);
}

std::string format_size(std::uint64_t bytes) {
    static constexpr std::array kUnits{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    auto value = static_cast<double>(bytes);
    std::size_t unit = 0;
    // 1023.5 and more would print as "1024 KiB".
    while (value >= 1023.5 && unit + 1 < kUnits.size()) {
        value /= 1024;
        ++unit;
    }
    if (unit == 0) return fmt::format("{} B", bytes);
    // 9.95 and more would print as "10.0", four characters where "10" does.
    return value < 9.95 ? fmt::format("{:.1f} {}", value, kUnits[unit])
                        : fmt::format("{:.0f} {}", value, kUnits[unit]);
}

std::string format_rate(std::uint64_t bytes, std::chrono::duration<double> elapsed) {
    if (elapsed.count() <= 0) return "-";
    return format_size(static_cast<std::uint64_t>(static_cast<double>(bytes) / elapsed.count())) + "/s";
}

std::string format_duration(std::chrono::seconds duration) {
    const auto total = std::max<std::int64_t>(duration.count(), 0);
    for (std::size_t i = 0; i + 1 < kTimeUnits.size(); ++i) {
        const auto [name, seconds] = kTimeUnits[i];
        if (total < seconds) continue;
        const auto rest = total % seconds / kTimeUnits[i + 1].seconds;
        const auto head = fmt::format("{} {}", total / seconds, name);
        return rest == 0 ? head : fmt::format("{} {} {}", head, rest, kTimeUnits[i + 1].name);
    }
    return fmt::format("{} s", total);
}

std::string format_rough_duration(std::uint64_t seconds) {
    const auto size = [](const TimeUnit& unit) { return static_cast<std::uint64_t>(unit.seconds); };
    const auto* unit = std::find_if(kTimeUnits.begin(), kTimeUnits.end(),
                                    [&](const TimeUnit& known) { return seconds >= size(known); });
    return unit == kTimeUnits.end() ? "0 s" : fmt::format("{} {}", seconds / size(*unit), unit->name);
}

}  // namespace vmad::base
