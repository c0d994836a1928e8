#include "settings/start_window.hpp"

#include <charconv>
#include <optional>
#include <string_view>

#include <fmt/format.h>

#include "base/error.hpp"

namespace vmad::settings {
namespace {

constexpr unsigned kHourMinutes = 60;
constexpr unsigned kDayMinutes = 24 * kHourMinutes;

std::tm local_time(std::time_t moment) {
    ::tzset();  // localtime_r() alone never notices that the zone has changed
    std::tm local{};
    ::localtime_r(&moment, &local);
    return local;
}

unsigned minute_of_day(const std::tm& local) {
    return static_cast<unsigned>(local.tm_hour) * kHourMinutes + static_cast<unsigned>(local.tm_min);
}

/// The moment after `begin`, at most `end`, in which the clock is put forward or back; it is, once.
std::time_t clock_change(std::time_t begin, std::time_t end) {
    const auto offset = local_time(begin).tm_gmtoff;
    while (end - begin > 1) {
        const auto middle = begin + (end - begin) / 2;
        (local_time(middle).tm_gmtoff == offset ? begin : end) = middle;
    }
    return end;
}

std::optional<unsigned> parse_two_digits(std::string_view text, unsigned limit) {
    unsigned number = 0;
    const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || rest != text.data() + text.size() || number >= limit) return std::nullopt;
    return number;
}

/// Of "HH:MM".
std::optional<unsigned> parse_minute_of_day(std::string_view text) {
    const auto hour = parse_two_digits(text.substr(0, 2), kDayMinutes / kHourMinutes);
    const auto minute = parse_two_digits(text.substr(3, 2), kHourMinutes);
    if (text[2] != ':' || !hour || !minute) return std::nullopt;
    return *hour * kHourMinutes + *minute;
}

}  // namespace

bool StartWindow::contains(std::time_t now) const {
    const unsigned minute = minute_of_day(local_time(now));
    if (begin_minute < end_minute) return begin_minute <= minute && minute < end_minute;
    return begin_minute <= minute || minute < end_minute;
}

std::time_t StartWindow::next_opening(std::time_t now) const {
    // Outside the window, nothing but its beginning and a change of the clock opens it.
    while (!contains(now)) {
        const std::tm local = local_time(now);
        const unsigned minutes = (begin_minute + kDayMinutes - minute_of_day(local)) % kDayMinutes;
        const std::time_t opening = now + std::time_t{minutes} * 60 - local.tm_sec;
        if (local_time(opening).tm_gmtoff == local.tm_gmtoff) return opening;
        now = clock_change(now, opening);
    }
    return now;
}

std::string StartWindow::text() const {
    return fmt::format("{:02}:{:02}-{:02}:{:02}", begin_minute / kHourMinutes, begin_minute % kHourMinutes,
                       end_minute / kHourMinutes, end_minute % kHourMinutes);
}

StartWindow parse_start_window(const std::string& text) {
    constexpr std::size_t kTimeLength = 5;
    std::optional<unsigned> begin;
    std::optional<unsigned> end;
    if (text.size() == 2 * kTimeLength + 1 && text[kTimeLength] == '-') {
        begin = parse_minute_of_day(std::string_view(text).substr(0, kTimeLength));
        end = parse_minute_of_day(std::string_view(text).substr(kTimeLength + 1));
    }
    if (!begin || !end)
        throw base::UsageError(fmt::format(
            "\"{}\" is no window of the day: write two times from 00:00 to 23:59, for example 22:00-06:00",
            text));
    if (*begin == *end)
        throw base::UsageError(fmt::format("\"{}\" begins when it ends: write two times that differ", text));
    return {*begin, *end};
}

}  // namespace vmad::settings
