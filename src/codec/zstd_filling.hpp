// What stands before the frames of a canonical zstd archive that hold payload, so that each begins at a
// multiple of 4096 in the file, where file systems can share it with other archives.
//
// A skippable frame: LE32 0x184D2A50, LE32 size of what follows, bytes 0x55, and last 80 zeros: restic and
// rustic cut their chunks after 64 zeros, so that is at the frame. Pure; any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace vmad::codec {

inline constexpr std::uint64_t kPageBytes = 4096;
/// A frame with more content than this holds an extent with payload, any other one extents without it.
inline constexpr std::uint64_t kMaxContentWithoutPayload = 4096;

/// How many bytes the filling has that begins at byte `stored_offset` of the file: at least 88.
[[nodiscard]] std::uint64_t filling_bytes(std::uint64_t stored_offset) noexcept;

/// The filling of that many bytes.
[[nodiscard]] std::vector<std::byte> make_filling(std::uint64_t bytes);

}  // namespace vmad::codec
