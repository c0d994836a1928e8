// Integers from and for the outside: in a named byte order in raw bytes, whatever the machine's own order and
// alignment rules are; and their sums, products and quotients, checked.
#pragma once

#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>

namespace vmad::base {

template <std::unsigned_integral T>
[[nodiscard]] constexpr T byte_swap(T value) noexcept {
    auto bytes = std::bit_cast<std::array<std::byte, sizeof(T)>>(value);
    for (std::size_t i = 0; i < sizeof(T) / 2; ++i) std::swap(bytes[i], bytes[sizeof(T) - 1 - i]);
    return std::bit_cast<T>(bytes);
}

/// Reads sizeof(T) bytes at `from`, which the caller has checked to be there.
template <std::unsigned_integral T>
[[nodiscard]] T load_be(const std::byte* from) noexcept {
    T value;
    std::memcpy(&value, from, sizeof value);
    return std::endian::native == std::endian::little ? byte_swap(value) : value;
}

template <std::unsigned_integral T>
[[nodiscard]] T load_le(const std::byte* from) noexcept {
    T value;
    std::memcpy(&value, from, sizeof value);
    return std::endian::native == std::endian::little ? value : byte_swap(value);
}

/// Writes sizeof(T) bytes at `to`.
template <std::unsigned_integral T>
void store_be(std::byte* to, T value) noexcept {
    if constexpr (std::endian::native == std::endian::little) value = byte_swap(value);
    std::memcpy(to, &value, sizeof value);
}

template <std::unsigned_integral T>
void store_le(std::byte* to, T value) noexcept {
    if constexpr (std::endian::native == std::endian::big) value = byte_swap(value);
    std::memcpy(to, &value, sizeof value);
}

/// a + b, or nothing when T cannot hold it.
template <std::unsigned_integral T>
[[nodiscard]] constexpr std::optional<T> checked_add(T a, T b) noexcept {
    T sum;
    return __builtin_add_overflow(a, b, &sum) ? std::nullopt : std::optional<T>(sum);
}

/// a * b, or nothing when T cannot hold it.
template <std::unsigned_integral T>
[[nodiscard]] constexpr std::optional<T> checked_multiply(T a, T b) noexcept {
    T product;
    return __builtin_mul_overflow(a, b, &product) ? std::nullopt : std::optional<T>(product);
}

/// The number of parts of size `part` that hold `whole`; `part` is not 0. Cannot overflow.
template <std::unsigned_integral T>
[[nodiscard]] constexpr T divide_up(T whole, T part) noexcept {
    return static_cast<T>(whole / part + (whole % part != 0));
}

/// `value` rounded up to a multiple of `unit`, which is not 0. The caller knows that it fits.
template <std::unsigned_integral T>
[[nodiscard]] constexpr T round_up(T value, T unit) noexcept {
    return static_cast<T>(divide_up(value, unit) * unit);
}

}  // namespace vmad::base
