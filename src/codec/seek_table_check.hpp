// Compares the seek table at the end of a zstd stream with the frames before it, while both go by.
//
// Private to this folder. One thread at a time; in memory that does not depend on the number of frames.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "codec/list_digest.hpp"
#include "codec/seek_table.hpp"

namespace vmad::codec {

class SeekTableCheck {
  public:
    /// A frame has ended that is not skippable.
    void add_frame(std::uint64_t stored_bytes, std::uint64_t bytes);
    /// A skippable frame begins. `header` is its magic number and the size of its content.
    void begin_skippable(std::span<const std::byte, SeekTable::kHeaderBytes> header);
    /// The next bytes of its content.
    void add_content(std::span<const std::byte> bytes);

    /// The stream has ended: its last frame was what SeekTable::encode() makes of all others, none of which
    /// was skippable.
    [[nodiscard]] bool matches() const;

  private:
    ListDigest content_;  ///< of the bytes that the table must have for the frames so far
    std::uint64_t frames_ = 0;
    std::uint64_t skippable_frames_ = 0;
    bool ends_in_table_ = false;  ///< the last frame was skippable
    std::array<std::byte, SeekTable::kHeaderBytes> found_header_{};
    ListDigest found_content_;
};

}  // namespace vmad::codec
