// Where an archive's bytes come from and where they go, in order: a file, a pipe, a compressor or its
// opposite; and memory slices as readv(2) and writev(2) take them, in which they travel.
#pragma once

#include <sys/uio.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

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

/// How far a source is, counted where its bytes are stored: of a compressed file, compressed bytes.
struct SourceProgress {
    std::uint64_t done_bytes = 0;
    std::uint64_t total_bytes = 0;  ///< 0 where it is not known, for example of a pipe
};

/// One thread at a time.
class ByteSource {
  public:
    virtual ~ByteSource() = default;
    /// The next bytes, as many as fit `into`; fewer only at the end. Returns how many. Throws SystemError.
    [[nodiscard]] virtual std::size_t read(std::span<iovec> into) = 0;
    /// How many bytes there are in all, where that is known.
    [[nodiscard]] virtual std::optional<std::uint64_t> size_bytes() const = 0;
    [[nodiscard]] virtual SourceProgress progress() const = 0;
};

/// One thread at a time.
class ByteSink {
  public:
    virtual ~ByteSink() = default;
    /// Writes the slices, `size_bytes` in all, behind what was written so far, and uses them up (changes
    /// them). Throws NoSpace or SystemError.
    virtual void append(std::span<iovec> slices, std::uint64_t size_bytes) = 0;
    /// How many bytes have arrived where they are stored.
    [[nodiscard]] virtual std::uint64_t written_bytes() const noexcept = 0;
};

/// What was read of a source already, and then the rest of it.
class PrefixedSource final : public ByteSource {
  public:
    /// `rest`, which outlives this object, has handed out `prefix` before.
    PrefixedSource(std::vector<std::byte> prefix, ByteSource& rest)
        : prefix_(std::move(prefix)), rest_(rest) {}
    [[nodiscard]] std::size_t read(std::span<iovec> into) override;
    [[nodiscard]] std::optional<std::uint64_t> size_bytes() const override { return rest_.size_bytes(); }
    [[nodiscard]] SourceProgress progress() const override { return rest_.progress(); }

  private:
    std::vector<std::byte> prefix_;
    std::size_t used_ = 0;
    ByteSource& rest_;
};

}  // namespace vmad::io
