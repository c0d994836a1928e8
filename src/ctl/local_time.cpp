#include "ctl/local_time.hpp"

#include <array>
#include <ctime>
#include <limits>
#include <optional>

#include <fmt/format.h>

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

}  // namespace

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

std::string short_local_time(std::uint64_t seconds_since_epoch) {
    const auto parts = local_parts(seconds_since_epoch);
    if (!parts) return fmt::format("@{}", seconds_since_epoch);
    std::array<char, 64> text;
    return {text.data(), std::strftime(text.data(), text.size(), "%m-%d %H:%M", &*parts)};
}

}  // namespace vmad::ctl
