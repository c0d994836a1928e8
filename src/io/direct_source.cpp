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

/// With one chunk there is nothing to read ahead, and the kernel takes its time to give up a queue.
bool is_long(FileSystem& fs, const File& file, const WrittenBoundary* boundary) {
    return boundary != nullptr || static_cast<std::uint64_t>(fs.status(file).st_size) > kChunk;
}

}  // namespace

DirectSource::DirectSource(FileSystem& fs, const File& file, const WrittenBoundary* boundary)
    : fs_(fs),
      own_(fs.reopen_direct(file).value_or(File())),
      file_(file),
      boundary_(boundary),
      buffers_(kChunk, 0, (kChunksAhead + 1) * kChunk),
      reads_(own_ && is_long(fs, file, boundary) ? fs.read_queue(own_, kChunksAhead)
                                                 : waiting_reads(fs, own_ ? own_ : file)) {}

DirectSource::DirectSource(FileSystem& fs, const File& file) : DirectSource(fs, file, nullptr) {
    look_for_more({static_cast<std::uint64_t>(fs.status(file).st_size), true});
    fetch_ahead();
}

DirectSource::DirectSource(FileSystem& fs, const File& file, const WrittenBoundary& boundary)
    : DirectSource(fs, file, &boundary) {}

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
        start({buffers_.get(kChunk), fetched_, std::min<std::uint64_t>(kChunk, end_ - fetched_)});
        fetched_ += kChunk;
    }
}

/// Whole blocks are asked for, also beyond the end.
void DirectSource::start(Chunk chunk) {
    reads_->start({chunk.buffer->data(), own_ ? kChunk : chunk.size}, chunk.offset);
    ahead_.push_back(std::move(chunk));
}

void DirectSource::finish(Chunk& chunk) {
    std::size_t done = 0;
    try {
        done = std::min(reads_->finish(), chunk.size);
    } catch (const base::SystemError& error) {
        // A file system may take the flag and not the reads; or a signal came.
        if (error.number() != EINVAL && error.number() != EINTR) throw;
    }
    // What was cut short within a block cannot go on by direct reads. The file may have become shorter, too.
    if (done < chunk.size) {
        drop_cached();
        done +=
            read_fully_at(fs_, file_, {chunk.buffer->data() + done, chunk.size - done}, chunk.offset + done);
    }
    chunk.size = done;
}

bool DirectSource::next_chunk() {
    if (ahead_.empty() && !complete_) {
        look_for_more(boundary_->wait_for(fetched_ + kChunk));
        fetch_ahead();
    }
    if (ahead_.empty()) return false;
    chunk_ = std::move(ahead_.front());
    ahead_.pop_front();
    finish(chunk_);
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
