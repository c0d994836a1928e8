#include "base/quantity.hpp"

#include <array>
#include <cmath>

#include <fmt/format.h>

namespace vmad::base {

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
    const auto total = duration.count() < 0 ? 0 : duration.count();
    struct Unit {
        std::int64_t seconds;
        const char* name;
    };
    static constexpr std::array kUnits{Unit{86400, "d"}, Unit{3600, "h"}, Unit{60, "min"}, Unit{1, "s"}};
    for (std::size_t i = 0; i + 1 < kUnits.size(); ++i) {
        const auto [seconds, name] = kUnits[i];
        if (total < seconds) continue;
        const auto rest = total % seconds / kUnits[i + 1].seconds;
        const auto head = fmt::format("{} {}", total / seconds, name);
        return rest == 0 ? head : fmt::format("{} {} {}", head, rest, kUnits[i + 1].name);
    }
    return fmt::format("{} s", total);
}

}  // namespace vmad::base
