// Reads of one file that are under way at once, and end in the order in which they were started.
//
// One thread at a time starts them and waits for them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace vmad::io {

class File;
class FileSystem;

class ReadQueue {
  public:
    ReadQueue() = default;
    ReadQueue(const ReadQueue&) = delete;
    ReadQueue& operator=(const ReadQueue&) = delete;
    /// Waits for what is under way: nothing is written to memory after it.
    virtual ~ReadQueue() = default;

    /// Starts to read at `offset`. `into` stays as it is until finish() was called for it.
    virtual void start(std::span<std::byte> into, std::uint64_t offset) = 0;
    /// Waits for the oldest one that was started, and returns how many bytes it got, as
    /// FileSystem::read_at. Throws SystemError.
    [[nodiscard]] virtual std::size_t finish() = 0;
};

/// Reads by FileSystem::read_at when they are waited for, one at a time; the page cache is told of them when
/// they are started. Both outlive it.
[[nodiscard]] std::unique_ptr<ReadQueue> waiting_reads(FileSystem& fs, const File& file);

/// Reads of the kernel (io_submit(2)), at most `depth` at once, of a file that was opened with O_DIRECT and
/// outlives it; others are not asynchronous. A read that waits in a system call would keep the inode locked
/// (shared), and who writes to the file out until it has ended; these keep it only while they are started.
/// Nothing where the kernel has none, or none left (aio-max-nr).
[[nodiscard]] std::unique_ptr<ReadQueue> kernel_reads(const File& file, unsigned depth);

}  // namespace vmad::io
