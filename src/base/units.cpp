#include "base/units.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
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

constexpr std::int64_t kHour = 3600;
constexpr std::int64_t kDay = 24 * kHour;

/// The largest first.
constexpr std::array kTimeUnits{TimeUnit{"d", kDay}, TimeUnit{"h", kHour}, TimeUnit{"min", 60},
                                TimeUnit{"s", 1}};

/// How else they may be written, as in systemd.time(7); no letter in front stands for no unit.
constexpr std::array kOtherTimeUnits{
    TimeUnit{"w", 7 * kDay}, TimeUnit{"week", 7 * kDay}, TimeUnit{"weeks", 7 * kDay},
    TimeUnit{"day", kDay},   TimeUnit{"days", kDay},     TimeUnit{"hr", kHour},
    TimeUnit{"hour", kHour}, TimeUnit{"hours", kHour},   TimeUnit{"m", 60},
    TimeUnit{"minute", 60},  TimeUnit{"minutes", 60},    TimeUnit{"sec", 1},
    TimeUnit{"second", 1},   TimeUnit{"seconds", 1}};

/// How many seconds one is; nothing for what is none.
std::optional<std::int64_t> seconds_of_unit(std::string_view name) {
    const auto find = [&](const auto& units) -> std::optional<std::int64_t> {
        const auto* unit = std::find_if(units.begin(), units.end(),
                                        [&](const TimeUnit& known) { return known.name == name; });
        return unit == units.end() ? std::nullopt : std::optional(unit->seconds);
    };
    const auto seconds = find(kTimeUnits);
    return seconds ? seconds : find(kOtherTimeUnits);
}

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

void skip_space(std::string_view& text) {
    if (text.starts_with(' ')) text.remove_prefix(1);
}

/// Takes a number and its unit off the front of `text`. Nothing when there is no such thing; the largest
/// number when it is out of range.
std::optional<std::uint64_t> take_duration(std::string_view& text) {
    std::uint64_t number = 0;  // unsigned, so that a sign is refused
    const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error == std::errc::invalid_argument) return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(rest - text.data()));
    skip_space(text);
    const auto* end = std::find_if_not(text.begin(), text.end(), is_letter);
    const auto seconds = seconds_of_unit(text.substr(0, static_cast<std::size_t>(end - text.begin())));
    if (!seconds) return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(end - text.begin()));
    if (error == std::errc::result_out_of_range) return UINT64_MAX;
    return checked_multiply(number, static_cast<std::uint64_t>(*seconds)).value_or(UINT64_MAX);
}

bool is_number(std::string_view text) {
    return !text.empty() && text.find_first_not_of("0123456789") == text.npos;
}

constexpr std::array kUnits{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};

/// The index of the one in which people read this number.
std::size_t unit_of(std::uint64_t bytes) {
    std::size_t unit = 0;
    // 1023.5 and more would print as "1024 KiB".
    for (auto value = static_cast<double>(bytes); value >= 1023.5 && unit + 1 < kUnits.size(); value /= 1024)
        ++unit;
    return unit;
}

std::string in_unit(std::uint64_t bytes, std::size_t unit) {
    if (unit == 0) return fmt::format("{}", bytes);
    const auto value = std::ldexp(static_cast<double>(bytes), -10 * static_cast<int>(unit));
    // 9.95 and more would print as "10.0", four characters where "10" does.
    return value < 9.95 ? fmt::format("{:.1f}", value) : fmt::format("{:.0f}", value);
}

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
    const auto factor = unit == kSizeSuffixes.npos ? std::uint64_t{1} : std::uint64_t{1024} << (10 * unit);
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
    const auto whole = is_number(text) ? text + "s" : text;
    std::string_view rest = whole;
    std::optional<std::uint64_t> total = 0;
    do {
        const auto part = take_duration(rest);
        // Between two of them there may be a space, behind the last one not.
        if (rest.size() > 1) skip_space(rest);
        if (!part)
            throw UsageError(fmt::format(
                "invalid duration \"{}\": write numbers and s, min, h, d or w, for example 15min or 1h30min",
                text));
        total = total ? checked_add(*total, *part) : total;
    } while (!rest.empty());
    if (!total || *total > static_cast<std::uint64_t>(INT64_MAX))
        throw UsageError(fmt::format("duration \"{}\" is out of range", text));
    return static_cast<std::int64_t>(*total);
}

std::string spell_duration(std::int64_t seconds) {
    const auto* unit = std::find_if(kTimeUnits.begin(), kTimeUnits.end(), [&](const TimeUnit& known) {
        return seconds != 0 ? seconds % known.seconds == 0 : known.seconds == 1;
    });
    return fmt::format("{}{}", seconds / unit->seconds, unit->name);
}

std::string format_size(std::uint64_t bytes) {
    const auto unit = unit_of(bytes);
    return fmt::format("{} {}", in_unit(bytes, unit), kUnits[unit]);
}

std::string format_part(std::uint64_t part_bytes, std::uint64_t whole_bytes) {
    return fmt::format("{} of {}", in_unit(part_bytes, unit_of(whole_bytes)), format_size(whole_bytes));
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
