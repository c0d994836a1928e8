#include "base/size_text.hpp"

#include <charconv>
#include <optional>
#include <string_view>

#include <fmt/format.h>

#include "base/checked.hpp"
#include "base/error.hpp"

namespace vmad::base {

namespace {

constexpr std::string_view kUnits = "KMG";

}  // namespace

std::uint64_t parse_size(const std::string& text) {
    std::uint64_t number = 0;
    const auto* end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data(), end, number);
    const std::string_view suffix(rest, static_cast<std::size_t>(end - rest));
    const auto unit = suffix.empty() ? kUnits.npos : kUnits.find(suffix[0]);
    if (error == std::errc::invalid_argument || suffix.size() > 1 || (!suffix.empty() && unit == kUnits.npos))
        throw UsageError(
            fmt::format("\"{}\" is no size: write a number and K, M or G, for example 256M", text));
    const auto factor = suffix.empty() ? std::uint64_t{1} : std::uint64_t{1024} << (10 * unit);
    const auto size = checked_multiply(number, factor);
    if (error == std::errc::result_out_of_range || !size)
        throw UsageError(fmt::format("\"{}\" is more than any machine has", text));
    return *size;
}

std::string size_text(std::uint64_t bytes) {
    constexpr std::uint64_t kStep = 1024;
    std::size_t unit = 0;
    for (; unit < kUnits.size() && bytes != 0 && bytes % kStep == 0; ++unit) bytes /= kStep;
    return fmt::format("{}{}", bytes, unit == 0 ? "" : kUnits.substr(unit - 1, 1));
}

}  // namespace vmad::base
