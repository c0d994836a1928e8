#include "io/direct_source.hpp"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace vmad::io {
namespace {

/// Direct reads want memory, offset and size in multiples of the device's block, which is at most a page; a
/// buffer of this size begins at a page.
constexpr std::size_t kChunk = std::size_t{4} << 20;
/// Enough that the device always has the next read to work on.
constexpr std::size_t kChunksAhead = 4;

}  // namespace

DirectSource::DirectSource(FileSystem& fs, const File& file)
    : fs_(fs),
      own_(fs.reopen_direct(file).value_or(File())),
      file_(file),
      buffers_(kChunk, 0, (kChunksAhead + 1) * kChunk),
      end_(static_cast<std::uint64_t>(fs.status(file).st_size)),
      complete_(true) {
    drop_cached();
    fetch_ahead();
}

DirectSource::DirectSource(FileSystem& fs, const File& file, const WrittenBoundary& boundary)
    : fs_(fs),
      own_(fs.reopen_direct(file).value_or(File())),
      file_(file),
      boundary_(&boundary),
      buffers_(kChunk, 0, (kChunksAhead + 1) * kChunk) {}

/// Some file systems have direct reads find what the cache still holds, or have none at all.
void DirectSource::drop_cached() { fs_.advise(file_, 0, 0, POSIX_FADV_DONTNEED); }

/// Only whole chunks of a file that is not complete: what stands behind them in its last block is not on the
/// device yet.
void DirectSource::look_for_more(const WrittenBoundary::State& written) {
    complete_ = written.complete;
    end_ = complete_ ? written.bytes : written.bytes / kChunk * kChunk;
    // The writer has dropped what it has waited for, but not the end.
    if (complete_) drop_cached();
}

void DirectSource::fetch_ahead() {
    while (fetched_ < end_ && ahead_.size() < kChunksAhead) {
        ahead_.push_back(
            std::async(std::launch::async, [this, buffer = buffers_.get(kChunk), at = fetched_, end = end_] {
                return Chunk{buffer, fetch(at, end, {buffer->data(), kChunk})};
            }));
        fetched_ += kChunk;
    }
}

std::size_t DirectSource::fetch(std::uint64_t offset, std::uint64_t end, std::span<std::byte> into) const {
    const auto wanted = std::min<std::uint64_t>(into.size(), end - offset);
    if (!own_) return read_fully_at(fs_, file_, into.first(wanted), offset);
    try {
        std::size_t done = 0;
        // Whole blocks are asked for, also beyond the end; behind that nothing is, as it would be no block.
        while (done < wanted) {
            const iovec rest{into.data() + done, into.size() - done};
            const auto count = fs_.read_at(own_, {&rest, 1}, offset + done);
            if (count == 0) break;
            done += count;
        }
        return std::min<std::size_t>(done, wanted);
    } catch (const base::SystemError& error) {
        // A file system may take the flag and not the reads; or a read was cut short within a block.
        if (error.number() != EINVAL) throw;
        return read_fully_at(fs_, file_, into.first(wanted), offset);
    }
}

bool DirectSource::next_chunk() {
    if (ahead_.empty() && !complete_) {
        look_for_more(boundary_->wait_for(fetched_ + kChunk));
        fetch_ahead();
    }
    if (ahead_.empty()) return false;
    chunk_ = ahead_.front().get();
    ahead_.pop_front();
    used_ = 0;
    if (!complete_) look_for_more(boundary_->state());
    fetch_ahead();
    return chunk_.size > 0;
}

std::size_t DirectSource::read(std::span<iovec> into) {
    std::size_t done = 0;
    for (auto& slice : into) {
        while (slice.iov_len > 0) {
            if (used_ == chunk_.size && !next_chunk()) return done;
            const auto count = std::min(slice.iov_len, chunk_.size - used_);
            std::memcpy(slice.iov_base, chunk_.buffer->data() + used_, count);
            slice.iov_base = static_cast<std::byte*>(slice.iov_base) + count;
            slice.iov_len -= count;
            used_ += count;
            used_bytes_ += count;
            done += count;
        }
    }
    return done;
}

}  // namespace vmad::io
