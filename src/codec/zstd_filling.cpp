#include "codec/zstd_filling.hpp"

#include <algorithm>

#include "base/integers.hpp"

namespace vmad::codec {
namespace {

constexpr std::uint32_t kMagic = 0x184d2a50;
constexpr std::size_t kHeaderBytes = 8;
constexpr std::size_t kZeros = 80;
constexpr std::byte kFill{0x55};

}  // namespace

std::uint64_t filling_bytes(std::uint64_t stored_offset) noexcept {
    const auto left = (kPageBytes - stored_offset % kPageBytes) % kPageBytes;
    return left < kHeaderBytes + kZeros ? left + kPageBytes : left;
}

std::vector<std::byte> make_filling(std::uint64_t bytes) {
    std::vector<std::byte> filling(bytes);
    base::store_le(filling.data(), kMagic);
    base::store_le(filling.data() + 4, static_cast<std::uint32_t>(bytes - kHeaderBytes));
    std::fill(filling.begin() + kHeaderBytes, filling.end() - kZeros, kFill);
    return filling;
}

}  // namespace vmad::codec
