#include "vma/format.hpp"

#include <algorithm>
#include <cstring>

#include <md5.h>

namespace vmad::vma {

const Device* Header::device(std::uint8_t id) const noexcept {
    const auto found =
        std::lower_bound(devices.begin(), devices.end(), id,
                         [](const Device& device, std::uint8_t wanted) { return device.id < wanted; });
    return found != devices.end() && found->id == id ? &*found : nullptr;
}

std::array<std::byte, 16> checksum(const std::byte* bytes, std::size_t size, std::size_t field) {
    static constexpr std::uint8_t kZero[16] = {};
    const auto* raw = reinterpret_cast<const std::uint8_t*>(bytes);
    MD5_CTX context;
    MD5Init(&context);
    MD5Update(&context, raw, field);
    MD5Update(&context, kZero, sizeof kZero);
    MD5Update(&context, raw + field + sizeof kZero, size - field - sizeof kZero);
    std::array<std::byte, 16> result;
    MD5Final(reinterpret_cast<std::uint8_t*>(result.data()), &context);
    return result;
}

bool has_checksum([[maybe_unused]] const std::byte* bytes, [[maybe_unused]] std::size_t size,
                  [[maybe_unused]] std::size_t field) {
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
    return true;
#else
    const auto md5 = checksum(bytes, size, field);
    return std::memcmp(md5.data(), bytes + field, md5.size()) == 0;
#endif
}

}  // namespace vmad::vma
