// Decompresses single pieces of a compressed file, a zstd frame or a gzip member each, out of memory: for who
// looks for what is still whole in a damaged file.
//
// One thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "codec/archive_format.hpp"

namespace vmad::codec {

struct StoredPiece {
    enum class State {
        none,       ///< no piece begins here
        damaged,    ///< one does; its content is not what its checksum says, or it is cut off
        skippable,  ///< a frame without content
        seek_table,
        whole,
    };
    State state = State::none;
    std::uint64_t stored_bytes = 0;  ///< of the piece; 0 when that cannot be told
    std::uint32_t checksum = 0;      ///< as the seek table has it; 0 for gzip
    std::vector<std::byte> content{};
};

class PieceDecoder {
  public:
    /// `format` is zstd or gzip. Throws std::bad_alloc, here and below.
    explicit PieceDecoder(ArchiveFormat format);
    PieceDecoder(const PieceDecoder&) = delete;
    PieceDecoder& operator=(const PieceDecoder&) = delete;
    ~PieceDecoder();

    /// What begins with the first byte of `stored`. More content than `limit_bytes` is damage.
    [[nodiscard]] StoredPiece take(std::span<const std::byte> stored, std::size_t limit_bytes);
    /// Whether a piece may begin there: no more than its first bytes are looked at.
    [[nodiscard]] bool may_begin(std::span<const std::byte> stored) const;
    /// How many bytes take() needs for a piece with so much content, and what may follow it.
    [[nodiscard]] std::size_t bound(std::size_t content_bytes) const;

  private:
    struct Contexts;
    [[nodiscard]] StoredPiece take_frame_of(std::span<const std::byte> stored, std::size_t limit_bytes);
    [[nodiscard]] StoredPiece take_member(std::span<const std::byte> stored, std::size_t limit_bytes);

    ArchiveFormat format_;
    std::unique_ptr<Contexts> contexts_;
};

}  // namespace vmad::codec
