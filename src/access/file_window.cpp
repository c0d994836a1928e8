#include "access/file_window.hpp"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.hpp"
#include "io/byte_stream.hpp"

namespace vmad::access {
namespace {

constexpr std::size_t kChunk = std::size_t{4} << 20;
constexpr std::size_t kPage = 4096;

}  // namespace

FileWindow::FileWindow(io::FileSystem& fs, const io::File& file, std::function<void()> fetching)
    : fs_(fs),
      file_(file),
      fetching_(std::move(fetching)),
      direct_(fs.reopen_direct(file).value_or(io::File())),
      chunk_(kChunk),
      size_(static_cast<std::uint64_t>(fs.status(file).st_size)) {
    fs_.advise(file_, 0, 0, POSIX_FADV_DONTNEED);
}

std::span<const std::byte> FileWindow::peek(std::size_t count) {
    while (end_ - begin_ < count && fetched_ < size_) fetch();
    return std::span<const std::byte>(buffer_).subspan(begin_, std::min(count, end_ - begin_));
}

void FileWindow::skip(std::uint64_t count) {
    offset_ += count;
    while (count > end_ - begin_ && fetched_ < size_) {
        count -= end_ - begin_;
        begin_ = end_;
        fetch();
    }
    begin_ += std::min<std::uint64_t>(count, end_ - begin_);
}

void FileWindow::fetch() {
    fetching_();
    std::copy_n(buffer_.begin() + static_cast<std::ptrdiff_t>(begin_), end_ - begin_, buffer_.begin());
    end_ -= begin_;
    begin_ = 0;
    const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(kChunk, size_ - fetched_));
    if (buffer_.size() < end_ + wanted) buffer_.resize(end_ + wanted);
    read({buffer_.data() + end_, wanted});
    end_ += wanted;
    fetched_ += wanted;
}

void FileWindow::read(std::span<std::byte> into) {
    std::size_t done = 0;
    try {
        if (direct_) {
            const iovec slice{chunk_.data(), kChunk};
            done = std::min(fs_.read_at(direct_, {&slice, 1}, fetched_), into.size());
            std::memcpy(into.data(), chunk_.data(), done);
        }
        if (done < into.size()) done += io::read_fully_at(fs_, file_, into.subspan(done), fetched_ + done);
    } catch (const base::SystemError& error) {
        if (error.number() != EIO && error.number() != EINVAL && error.number() != EINTR) throw;
        direct_ = {};  // a file system may take the flag and not the reads
        return read_pages(into);
    }
    if (done < into.size()) throw base::Error(file_.path() + ": the file became shorter while it was read");
}

void FileWindow::read_pages(std::span<std::byte> into) {
    for (std::size_t at = 0; at < into.size(); at += kPage) {
        const auto page = into.subspan(at, std::min(kPage, into.size() - at));
        try {
            std::fill(page.begin(), page.end(), std::byte{0});
            (void)io::read_fully_at(fs_, file_, page, fetched_ + at);
        } catch (const base::SystemError& error) {
            if (error.number() != EIO || unreadable_ >= kMaxUnreadableBytes) throw;
            std::fill(page.begin(), page.end(), std::byte{0});
            unreadable_ += page.size();
        }
    }
}

}  // namespace vmad::access
