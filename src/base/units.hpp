// Sizes, rates and lengths of time: as settings and options spell them, exactly, and as people read them,
// rounded. For machines there are plain numbers instead. Pure; any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace vmad::base {

// As they are spelled: "512", "64K", "256M", "2G"; "90s", "15min", "1h30min", "2d", "1w".

/// Bytes; the units are powers of 1024. Throws base::UsageError that says what is wrong with the text.
[[nodiscard]] std::uint64_t parse_size(const std::string& text);

/// The shortest text that parse_size() takes for exactly this number.
[[nodiscard]] std::string spell_size(std::uint64_t bytes);

/// Seconds: the sum of numbers with a unit each, which are those of systemd.time(7) from seconds to weeks
/// ("5m" is minutes); spaces between them do not matter. A number alone is seconds. The one parser for
/// settings and options. Throws base::UsageError that says what is wrong with the text.
[[nodiscard]] std::int64_t parse_duration(const std::string& text);

/// `seconds`, which is not negative, in the largest unit that it is a multiple of: text that parse_duration()
/// takes for exactly this number.
[[nodiscard]] std::string spell_duration(std::int64_t seconds);

// As people read them.

/// "512 B", "3.7 MiB", "1.0 TiB": three significant digits at most, binary units.
[[nodiscard]] std::string format_size(std::uint64_t bytes);

/// "1.3 of 3.7 GiB": the part in the unit of the whole.
[[nodiscard]] std::string format_part(std::uint64_t part_bytes, std::uint64_t whole_bytes);

/// "212 MiB/s"; "-" when no time has passed.
[[nodiscard]] std::string format_rate(std::uint64_t bytes, std::chrono::duration<double> elapsed);

/// "0 s", "59 s", "3 min 20 s", "2 h 5 min", "3 d 4 h": the two largest units.
[[nodiscard]] std::string format_duration(std::chrono::seconds duration);

/// "59 s", "3 min", "2 d": the largest unit, the rest cut off.
[[nodiscard]] std::string format_rough_duration(std::uint64_t seconds);

}  // namespace vmad::base
