// Whether a zstd stream is filled up and ends in a seek table as a canonical one, checked while it goes by.
//
// Private to this folder. One thread at a time; in memory that does not depend on the number of frames.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "codec/list_digest.hpp"
#include "codec/seek_table.hpp"

namespace vmad::codec {

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
