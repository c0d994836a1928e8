#include "ctl/text/local_time.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <ctime>
#include <limits>
#include <optional>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/units.hpp"

namespace vmad::ctl {
namespace {

/// Nothing for a second that no calendar reaches.
std::optional<std::tm> local_parts(std::uint64_t seconds_since_epoch) {
    const auto time = static_cast<std::time_t>(seconds_since_epoch);
    std::tm parts{};
    if (seconds_since_epoch > static_cast<std::uint64_t>(std::numeric_limits<std::time_t>::max()) ||
        ::localtime_r(&time, &parts) == nullptr)
        return std::nullopt;
    return parts;
}

/// Nothing when the text is not of this format, or names a day that no calendar has.
std::optional<std::int64_t> parse_date(const std::string& text, const char* format) {
    tm named{};
    const char* rest = ::strptime(text.c_str(), format, &named);
    if (rest == nullptr || *rest != '\0') return std::nullopt;
    named.tm_isdst = -1;  // whatever holds then
    auto parts = named;
    const auto time = ::mktime(&parts);
    // mktime makes 1 March of 30 February. Hours may differ: where the clock is set forward one is missing.
    if (parts.tm_mon != named.tm_mon || parts.tm_mday != named.tm_mday) return std::nullopt;
    return time;
}

}  // namespace

std::int64_t now() { return std::time(nullptr); }

std::string iso_local_time(std::uint64_t seconds_since_epoch) {
    const auto parts = local_parts(seconds_since_epoch);
    if (!parts) return fmt::format("@{}", seconds_since_epoch);
    std::array<char, 64> text;
    const std::string result(text.data(),
                             std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S%z", &*parts));
    // strftime knows the offset without its colon only.
    const auto minutes = result.size() - 2;
    return fmt::format("{}:{}", result.substr(0, minutes), result.substr(minutes));
}

std::string minute_time(std::int64_t seconds_since_epoch) {
    const std::time_t time = seconds_since_epoch;
    std::tm parts{};
    std::array<char, 64> text;
    if (::localtime_r(&time, &parts) == nullptr) return fmt::format("@{}", seconds_since_epoch);
    return {text.data(), std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M", &parts)};
}

std::string clock_time(std::uint64_t seconds_since_epoch) {
    const auto parts = local_parts(seconds_since_epoch);
    if (!parts) return fmt::format("@{}", seconds_since_epoch);
    return fmt::format("{:02}:{:02}:{:02}", parts->tm_hour, parts->tm_min, parts->tm_sec);
}

std::string day_text(std::int64_t seconds_since_epoch, std::int64_t now) {
    const std::time_t time = seconds_since_epoch;
    const std::time_t today = now;
    std::tm parts{};
    std::tm parts_now{};
    if (::localtime_r(&time, &parts) == nullptr || ::localtime_r(&today, &parts_now) == nullptr)
        return fmt::format("@{}", seconds_since_epoch);
    std::array<char, 64> text;
    const auto size = parts.tm_year == parts_now.tm_year
                          ? std::strftime(text.data(), text.size(), "%e %b", &parts)
                          : std::strftime(text.data(), text.size(), "%e %b %Y", &parts);
    const std::string day(text.data(), size);
    return day.substr(day.find_first_not_of(' '));
}

std::int64_t day_begin(std::int64_t seconds_since_epoch, int days) {
    const std::time_t time = seconds_since_epoch;
    std::tm parts{};
    if (::localtime_r(&time, &parts) == nullptr) return seconds_since_epoch;
    parts.tm_mday += days;
    parts.tm_hour = parts.tm_min = parts.tm_sec = 0;
    parts.tm_isdst = -1;
    return std::mktime(&parts);
}

std::string relative_time(std::int64_t then, std::int64_t now) {
    if (then == now) return "now";
    // Unsigned, as the difference of two times may not fit.
    const auto earlier = static_cast<std::uint64_t>(std::min(then, now));
    const auto distance =
        base::format_rough_duration(static_cast<std::uint64_t>(std::max(then, now)) - earlier);
    return then < now ? distance + " ago" : "in " + distance;
}

std::string relative_and_iso_time(std::int64_t then, std::int64_t now) {
    return fmt::format("{}, {}", relative_time(then, now), iso_local_time(static_cast<std::uint64_t>(then)));
}

std::int64_t since_time(const std::string& text, std::int64_t now) {
    // strptime skips white space, and what is behind a NUL nobody sees.
    const bool is_plain = !text.empty() && std::isdigit(static_cast<unsigned char>(text[0])) != 0;
    if (is_plain)
        for (const char* format : {"%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S"})
            if (const auto time = parse_date(text, format)) return *time;
    try {
        // A number alone could mean a year as well as seconds.
        if (text.find_first_not_of("0123456789") != text.npos) return now - base::parse_duration(text);
    } catch (const base::UsageError&) {
        // Told with the other forms.
    }
    throw base::UsageError(
        fmt::format("invalid time \"{}\": use 2026-01-31, \"2026-01-31 12:00\", or an age such as 7d", text));
}

}  // namespace vmad::ctl
