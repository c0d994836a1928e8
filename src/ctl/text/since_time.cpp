#include "ctl/text/since_time.hpp"

#include <time.h>

#include <cctype>
#include <optional>

#include <fmt/format.h>

#include "base/duration_text.hpp"
#include "base/error.hpp"

namespace vmad::ctl {
namespace {

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

std::int64_t since_time(const std::string& text, std::int64_t now) {
    // strptime skips white space, and what is behind a NUL nobody sees.
    const bool is_plain = !text.empty() && std::isdigit(static_cast<unsigned char>(text[0])) != 0;
    if (is_plain)
        for (const char* format : {"%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S"})
            if (const auto time = parse_date(text, format)) return *time;
    try {
        return now - base::parse_duration(text);
    } catch (const base::UsageError&) {
        throw base::UsageError(fmt::format(
            "\"{}\" is no time: write 2026-01-31, \"2026-01-31 12:00\", or how long ago, for example 7d",
            text));
    }
}

}  // namespace vmad::ctl
