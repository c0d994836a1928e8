#include "io/file_source.hpp"

#include <fcntl.h>

#include "io/byte_stream.hpp"

namespace vmad::io {
namespace {

/// Read-ahead is asked for in steps of this, two steps ahead: enough to keep a disk busy while we compute.
constexpr std::uint64_t kWindow = std::uint64_t{8} << 20;
/// How far behind the reader the page cache is dropped; clusters that must be read again are mostly nearer.
constexpr std::uint64_t kKeepBehind = std::uint64_t{64} << 20;

}  // namespace

FileSource::FileSource(FileSystem& fs, const File& file, CacheUse cache_use)
    : fs_(fs),
      file_(file),
      cache_use_(cache_use),
      size_bytes_(static_cast<std::uint64_t>(fs.status(file).st_size)) {
    fs_.advise(file_, 0, 0, cache_use_ == CacheUse::peek ? POSIX_FADV_RANDOM : POSIX_FADV_SEQUENTIAL);
}

void FileSource::advise_window() {
    if (cache_use_ == CacheUse::peek) return;
    while (ahead_ < size_bytes_ && ahead_ < offset_ + 2 * kWindow) {
        fs_.advise(file_, ahead_, kWindow, POSIX_FADV_WILLNEED);
        ahead_ += kWindow;
    }
    if (cache_use_ == CacheUse::drop_behind && offset_ >= behind_ + kKeepBehind + kWindow) {
        fs_.advise(file_, behind_, offset_ - kKeepBehind - behind_, POSIX_FADV_DONTNEED);
        behind_ = offset_ - kKeepBehind;
    }
}

std::size_t FileSource::read(std::span<iovec> into) {
    advise_window();
    std::size_t done = 0;
    use_up(into, 0);
    while (!into.empty()) {
        const auto count = fs_.read_at(file_, into, offset_);
        if (count == 0) break;
        done += count;
        offset_ += count;
        use_up(into, count);
    }
    return done;
}

}  // namespace vmad::io
