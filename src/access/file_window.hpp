// A damaged file from its start to its end, some of it in memory. Reads past the page cache; what cannot be
// read is zeros. One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/buffer_pool.hpp"
#include "io/file_system.hpp"

namespace vmad::access {

/// More bytes that cannot be read are an error: that device is dying.
inline constexpr std::uint64_t kMaxUnreadableBytes = std::uint64_t{16} << 20;

class FileWindow {
  public:
    /// Of a regular file. `fetching` is called before each of some MiB is read. The references outlive this
    /// object. Throws base::SystemError.
    FileWindow(io::FileSystem& fs, const io::File& file, std::function<void()> fetching);

    /// The next bytes, `count` of them or all there are. Valid until the next call. Throws base::SystemError,
    /// base::Error when the file became shorter, and what `fetching` throws; so do the other two.
    [[nodiscard]] std::span<const std::byte> peek(std::size_t count);
    void skip(std::uint64_t count);
    void skip_to(std::uint64_t offset) { skip(offset - offset_); }

    [[nodiscard]] std::uint64_t offset() const noexcept { return offset_; }
    [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
    [[nodiscard]] std::uint64_t unreadable_bytes() const noexcept { return unreadable_; }

  private:
    void fetch();
    void read(std::span<std::byte> into);
    void read_pages(std::span<std::byte> into);

    io::FileSystem& fs_;
    const io::File& file_;
    std::function<void()> fetching_;
    io::File direct_;
    base::Buffer chunk_;  ///< aligned, as direct reads want it
    std::uint64_t size_;
    std::vector<std::byte> buffer_;
    std::size_t begin_ = 0;  ///< of what is buffered and not skipped
    std::size_t end_ = 0;
    std::uint64_t fetched_ = 0;  ///< of the file
    std::uint64_t offset_ = 0;   ///< of the next byte
    std::uint64_t unreadable_ = 0;
};

}  // namespace vmad::access
