// Sizes, rates and times as people read them. For machines there are plain numbers instead.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace vmad::base {

/// "512 B", "3.7 MiB", "1.0 TiB": three significant digits at most, binary units.
[[nodiscard]] std::string format_size(std::uint64_t bytes);

/// "212 MiB/s"; "-" when no time has passed.
[[nodiscard]] std::string format_rate(std::uint64_t bytes, std::chrono::duration<double> elapsed);

/// "0 s", "59 s", "3 min 20 s", "2 h 5 min", "3 d 4 h": the two largest units.
[[nodiscard]] std::string format_duration(std::chrono::seconds duration);

}  // namespace vmad::base
