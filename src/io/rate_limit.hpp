// A number of bytes per second that several processes share.
//
// It lies in one page of memory without a name: the daemon makes it and sets the rate, each worker gets the
// descriptor and takes what it reads and writes. Nothing is ever locked, so whoever is killed holds nobody
// up. Any thread of any of the processes may call anything at any time.
#pragma once

#include <cstdint>

#include "base/task.hpp"
#include "base/unique_fd.hpp"
#include "io/file_system.hpp"

namespace vmad::io {

class RateLimit {
  public:
    /// A new one, without a limit. Throws base::SystemError.
    [[nodiscard]] static RateLimit create();
    /// The one that another process has made. Throws base::Error when the descriptor is not that of one.
    [[nodiscard]] static RateLimit attach(base::UniqueFd fd);

    RateLimit(RateLimit&& other) noexcept;
    RateLimit& operator=(RateLimit&&) = delete;
    RateLimit(const RateLimit&) = delete;
    RateLimit& operator=(const RateLimit&) = delete;
    ~RateLimit();

    /// To be inherited by another process, for attach(). Borrowed.
    [[nodiscard]] int fd() const noexcept { return fd_.get(); }

    /// For all processes at once, those that wait included. 0: no limit.
    void set_bytes_per_second(std::uint64_t rate) noexcept;
    [[nodiscard]] std::uint64_t bytes_per_second() const noexcept;

    /// Returns when the rate allows these bytes: at once when there is no limit or a stop is requested, since
    /// whoever stops has its own way to say so.
    void take(std::uint64_t bytes, const base::CancelFlag& cancel) const noexcept;

  private:
    struct Page;
    RateLimit(base::UniqueFd fd, Page* page) noexcept : fd_(std::move(fd)), page_(page) {}
    [[nodiscard]] static RateLimit map(base::UniqueFd fd);
    void take_slice(std::uint64_t bytes, std::uint64_t rate, const base::CancelFlag& cancel) const noexcept;

    base::UniqueFd fd_;
    Page* page_;  ///< mapped; null in one that was moved from
};

/// The file system, with a limit to how fast the content of files is read and written; directories and
/// metadata do not count. Bytes count when they were read or written, as the system call says: what is asked
/// for beyond the end of a file, or again after a short write, would count twice otherwise. So a call is
/// never late, but the next one is.
class RateLimitedFileSystem final : public FileSystem {
  public:
    /// Both outlive this object. When a stop is requested, nothing waits any more.
    RateLimitedFileSystem(const RateLimit& limit, const base::CancelFlag& cancel) noexcept
        : limit_(limit), cancel_(cancel) {}

    [[nodiscard]] std::size_t read_at(const File& file, std::span<const iovec> into,
                                      std::uint64_t offset) override;
    [[nodiscard]] std::unique_ptr<ReadQueue> read_queue(const File& file, unsigned depth) override;
    [[nodiscard]] std::size_t write_at(const File& file, std::span<const iovec> from,
                                       std::uint64_t offset) override;
    /// The kernel reads both ranges to compare them.
    [[nodiscard]] BlockSharing share_range(const File& from, std::uint64_t from_offset, const File& to,
                                           std::uint64_t to_offset, std::uint64_t size_bytes) override;

  private:
    const RateLimit& limit_;
    const base::CancelFlag& cancel_;
};

}  // namespace vmad::io
