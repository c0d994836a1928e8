// Where an archive's bytes come from and where they go, in order: a file, a pipe, a compressor or its
// opposite.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace vmad::io {

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
