#include "io/temporary_name.hpp"

#include <sys/random.h>

#include <cstdint>

#include <fmt/format.h>

#include "base/error.hpp"

namespace vmad::io {

std::string random_hex() {
    std::uint64_t random = 0;
    if (::getrandom(&random, sizeof random, 0) != sizeof random) base::throw_errno("read", "random bytes");
    return fmt::format("{:016x}", random);
}

bool is_random_hex(std::string_view text) noexcept {
    return text.size() == kRandomDigits && text.find_first_not_of("0123456789abcdef") == text.npos;
}

std::string_view random_part(std::string_view name, std::string_view prefix,
                             std::string_view suffix) noexcept {
    if (name.size() != prefix.size() + kRandomDigits + suffix.size()) return {};
    const auto digits = name.substr(prefix.size(), kRandomDigits);
    const bool fits = name.starts_with(prefix) && name.ends_with(suffix) && is_random_hex(digits);
    return fits ? digits : std::string_view();
}

bool is_reserved_name(std::string_view name) noexcept { return name.starts_with(kReservedPrefix); }

bool is_temporary_name(std::string_view name) noexcept {
    return !random_part(name, kReservedPrefix, ".tmp").empty();
}

}  // namespace vmad::io
