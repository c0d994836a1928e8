// A number of bytes per second that several processes share.
//
// It lies in one page of memory without a name: the daemon makes it and sets the rate, each worker gets the
// descriptor and takes what it reads and writes. Nothing is ever locked, so whoever is killed holds nobody
// up. Any thread of any of the processes may call anything at any time.
#pragma once

#include <cstdint>

#include "base/cancel.hpp"
#include "base/unique_fd.hpp"

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

}  // namespace vmad::io
