#include "io/standard_streams.hpp"

#include <poll.h>
#include <sys/stat.h>

#include <cerrno>

#include "io/byte_stream.hpp"
#include "io/file_system.hpp"

namespace vmad::io {
namespace {

/// How long nobody looks at the cancel flag at most.
constexpr int kSliceMs = 200;

/// Returns when the call that waits for `events` would do something, if only fail.
void wait_ready(int fd, short events, const std::string& name, const base::CancelFlag* cancel) {
    pollfd wanted{fd, events, 0};
    for (;;) {
        if (cancel != nullptr) cancel->check();
        const int ready = ::poll(&wanted, 1, kSliceMs);
        if (ready > 0) return;
        if (ready < 0 && errno != EINTR) throw_file_error("poll", name);
    }
}

/// The call did nothing, and is to be made again.
bool try_again() { return errno == EINTR || errno == EAGAIN; }

}  // namespace

std::size_t StreamSource::read(std::span<iovec> into) {
    std::size_t done = 0;
    use_up(into, 0);
    while (!into.empty()) {
        wait_ready(fd_, POLLIN, name_, cancel_);
        const auto result = ::readv(fd_, into.data(), iov_count(into));
        if (result < 0) {
            if (try_again()) continue;
            throw_file_error("read", name_);
        }
        if (result == 0) break;
        const auto count = static_cast<std::size_t>(result);
        done += count;
        done_bytes_ += count;
        use_up(into, count);
    }
    return done;
}

StreamSink::StreamSink(int fd, std::string name, const base::CancelFlag* cancel)
    : fd_(fd), name_(std::move(name)), cancel_(cancel) {
    struct stat status {};
    if (::fstat(fd_, &status) != 0) throw_file_error("stat", name_);
    may_wait_ = !S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode);
}

void StreamSink::append(std::span<iovec> slices, std::uint64_t) {
    use_up(slices, 0);
    while (!slices.empty()) {
        wait_ready(fd_, POLLOUT, name_, cancel_);
        // A blocking write that does not fit a pipe waits until the reader has taken all of it, and a signal
        // does not end that. What POLLOUT promises is room for PIPE_BUF bytes. This is no slower than larger
        // writes: the reader gets to work sooner.
        const auto& first = slices.front();
        const auto result = may_wait_
                                ? ::write(fd_, first.iov_base, std::min<std::size_t>(first.iov_len, PIPE_BUF))
                                : ::writev(fd_, slices.data(), iov_count(slices));
        if (result < 0) {
            if (try_again()) continue;
            throw_file_error("write", name_);
        }
        if (result == 0) throw_nothing_written(name_);
        const auto count = static_cast<std::size_t>(result);
        written_bytes_ += count;
        use_up(slices, count);
    }
}

}  // namespace vmad::io
