// Memory slices as readv(2) and writev(2) take them: making them, and using up a list of them from the front.
#pragma once

#include <sys/uio.h>

#include <algorithm>
#include <cstddef>
#include <span>
#include <string_view>

#include <climits>

namespace vmad::io {

/// A slice to write from. iovec knows no const, but writing leaves the bytes alone.
[[nodiscard]] inline iovec const_slice(std::span<const std::byte> bytes) noexcept {
    return {const_cast<std::byte*>(bytes.data()), bytes.size()};
}
[[nodiscard]] inline iovec const_slice(std::string_view text) noexcept {
    return const_slice(std::as_bytes(std::span(text)));
}

/// Takes `count` bytes off the front, which has them. No empty slice is left in front: with a `count` of 0
/// this only drops those.
inline void use_up(std::span<iovec>& slices, std::size_t count) noexcept {
    while (!slices.empty() && slices.front().iov_len <= count) {
        count -= slices.front().iov_len;
        slices = slices.subspan(1);
    }
    if (count == 0) return;
    slices.front().iov_base = static_cast<std::byte*>(slices.front().iov_base) + count;
    slices.front().iov_len -= count;
}

/// How many of the slices one system call takes.
[[nodiscard]] inline int iov_count(std::span<const iovec> slices) noexcept {
    return static_cast<int>(std::min<std::size_t>(slices.size(), IOV_MAX));
}

}  // namespace vmad::io
