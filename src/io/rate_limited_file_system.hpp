// The file system, with a limit to how fast the content of files is read and written.
//
// Bytes count when they were read or written, as the system call says: what is asked for beyond the end of a
// file, or again after a short write, would count twice otherwise. So a call is never late, but the next one
// is. What is no content, directories and metadata, does not count.
#pragma once

#include "base/cancel.hpp"
#include "io/file_system.hpp"
#include "io/rate_limit.hpp"

namespace vmad::io {

class RateLimitedFileSystem final : public FileSystem {
  public:
    /// Both outlive this object. When a stop is requested, nothing waits any more.
    RateLimitedFileSystem(const RateLimit& limit, const base::CancelFlag& cancel) noexcept
        : limit_(limit), cancel_(cancel) {}

    [[nodiscard]] std::size_t read_at(const File& file, std::span<const iovec> into,
                                      std::uint64_t offset) override;
    [[nodiscard]] std::size_t write_at(const File& file, std::span<const iovec> from,
                                       std::uint64_t offset) override;

  private:
    const RateLimit& limit_;
    const base::CancelFlag& cancel_;
};

}  // namespace vmad::io
