// Where an archive's bytes go, in order: a file, a pipe, a compressor.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <span>

namespace vmad::io {

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

}  // namespace vmad::io
