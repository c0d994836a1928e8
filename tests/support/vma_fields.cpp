#include "support/vma_fields.hpp"

#include <algorithm>
#include <cstring>

#include <md5.h>

namespace vmad::testing {

std::uint64_t get_be(const std::byte* from, std::size_t width) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < width; ++i) value = value << 8U | std::to_integer<std::uint64_t>(from[i]);
    return value;
}

void put_be(std::byte* to, std::size_t width, std::uint64_t value) {
    for (std::size_t i = width; i > 0; --i, value >>= 8U) to[i - 1] = static_cast<std::byte>(value);
}

std::uint64_t get_le(const std::byte* from, std::size_t width) {
    std::uint64_t value = 0;
    for (std::size_t i = width; i > 0; --i) value = value << 8U | std::to_integer<std::uint64_t>(from[i - 1]);
    return value;
}

void put_le(std::byte* to, std::size_t width, std::uint64_t value) {
    for (std::size_t i = 0; i < width; ++i, value >>= 8U) to[i] = static_cast<std::byte>(value);
}

Slot Slot::load(const std::byte* from) {
    return {.mask = static_cast<std::uint16_t>(get_be(from, 2)),
            .reserved = static_cast<std::uint8_t>(get_be(from + 2, 1)),
            .device = static_cast<std::uint8_t>(get_be(from + 3, 1)),
            .cluster = static_cast<std::uint32_t>(get_be(from + 4, 4))};
}

void Slot::store(std::byte* to) const {
    put_be(to, 2, mask);
    put_be(to + 2, 1, reserved);
    put_be(to + 3, 1, device);
    put_be(to + 4, 4, cluster);
}

bool all_zero(View bytes) noexcept {
    return bytes.empty() || (bytes.front() == std::byte{0} &&
                             std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

std::array<std::byte, 16> md5_of(View bytes, std::size_t md5_at) {
    const std::array<std::byte, 16> zero{};
    const auto* data = reinterpret_cast<const std::uint8_t*>(bytes.data());
    const std::size_t after = md5_at + zero.size();
    MD5_CTX context;
    MD5Init(&context);
    MD5Update(&context, data, md5_at);
    MD5Update(&context, reinterpret_cast<const std::uint8_t*>(zero.data()), zero.size());
    MD5Update(&context, data + after, bytes.size() - after);
    std::array<std::byte, 16> sum{};
    MD5Final(reinterpret_cast<std::uint8_t*>(sum.data()), &context);
    return sum;
}

bool is_sealed([[maybe_unused]] View bytes, [[maybe_unused]] std::size_t md5_at) {
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
    return true;
#else
    const auto sum = md5_of(bytes, md5_at);
    return std::equal(sum.begin(), sum.end(), &bytes[md5_at]);
#endif
}

void seal(std::span<std::byte> bytes, std::size_t md5_at) {
    const auto sum = md5_of(bytes, md5_at);
    std::memcpy(bytes.data() + md5_at, sum.data(), sum.size());
}

}  // namespace vmad::testing
