// The form of a canonical zstd archive, beyond its frames: what stands before those that hold payload, so
// that each begins at a multiple of 4096 in the file, where file systems can share it with other archives;
// and the check, while a stream goes by, that it is filled up so and ends in the seek table of such an
// archive.
//
// A filling is a skippable frame: LE32 0x184D2A50, LE32 size of what follows, bytes 0x55, and last 80 zeros:
// restic and rustic cut their chunks after 64 zeros, so that is at the frame. One thread at a time; in memory
// that does not depend on the number of frames.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "codec/decoder.hpp"
#include "codec/seek_table.hpp"

namespace vmad::codec {

inline constexpr std::uint64_t kPageBytes = 4096;
/// A frame with more content than this holds an extent with payload, any other one extents without it.
inline constexpr std::uint64_t kMaxContentWithoutPayload = 4096;

/// How many bytes the filling has that begins at byte `stored_offset` of the file: at least 88.
[[nodiscard]] std::uint64_t filling_bytes(std::uint64_t stored_offset) noexcept;

/// The filling of that many bytes.
[[nodiscard]] std::vector<std::byte> make_filling(std::uint64_t bytes);

/// A frame that is not skippable.
struct StoredFrame {
    std::uint64_t stored_bytes = 0;
    std::uint64_t bytes = 0;
    std::uint32_t checksum = 0;  ///< its last four bytes
};

class ZstdFormCheck {
  public:
    void add_frame(const StoredFrame& frame);
    /// A skippable frame begins. `header` is its magic number and the size of its content.
    void begin_skippable(std::span<const std::byte, SeekTable::kHeaderBytes> header);
    /// The next bytes of its content.
    void add_content(std::span<const std::byte> bytes);

    /// The stream has ended: just the frames with payload, but for the first frame, have a filling before
    /// them, the right one; and the last frame is the table of all others.
    [[nodiscard]] bool matches() const;

  private:
    [[nodiscard]] bool skippable_is_filling() const;

    bool fits_ = true;  ///< as far as has been seen
    std::uint64_t frames_ = 0;
    ListDigest entries_;  ///< of the bytes that the table must have for all frames but the last
    StoredFrame last_;
    std::uint64_t stored_offset_ = 0;    ///< where the last frame ends
    std::uint64_t skippable_bytes_ = 0;  ///< of the one behind it; 0 when there is none
    std::array<std::byte, SeekTable::kHeaderBytes> header_{};
    ListDigest content_;
    std::vector<std::byte> page_;  ///< the content again, as long as it may be a filling
};

}  // namespace vmad::codec
