// The stored bytes of a compressed file, buffered for a decompressor that wants some of them in one piece.
//
// Private to this folder. One thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/task.hpp"
#include "io/byte_stream.hpp"

namespace vmad::codec {

class StoredInput {
  public:
    /// A block of zstd, the longest piece that is asked for, has 128 KiB.
    static constexpr std::size_t kBytes = std::size_t{256} << 10;

    /// `offset` is where `source` stands in the file. `source` and the flag, if any, outlive this object.
    StoredInput(io::ByteSource& source, std::uint64_t offset, const base::CancelFlag* cancel)
        : source_(source), cancel_(cancel), buffer_(kBytes), offset_(offset) {}

    /// The next bytes: at least `count`, which is at most kBytes, unless there are no more. Valid until the
    /// next call. Throws what the source throws, and base::Cancelled.
    [[nodiscard]] std::span<const std::byte> peek(std::size_t count);
    /// Passes over `count` bytes that peek() gave.
    void consume(std::size_t count) noexcept {
        begin_ += count;
        offset_ += count;
    }
    /// Of the next byte in the file.
    [[nodiscard]] std::uint64_t offset() const noexcept { return offset_; }
    [[nodiscard]] io::SourceProgress progress() const { return source_.progress(); }

  private:
    io::ByteSource& source_;
    const base::CancelFlag* cancel_;
    std::vector<std::byte> buffer_;
    std::size_t begin_ = 0;  ///< of what is buffered and not consumed
    std::size_t end_ = 0;
    std::uint64_t offset_;
    bool source_ended_ = false;
};

}  // namespace vmad::codec
