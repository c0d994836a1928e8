// Sums, products and quotients of numbers that come from outside.
#pragma once

#include <concepts>
#include <optional>

namespace vmad::base {

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
