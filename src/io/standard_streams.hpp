// Standard input and output, or any other descriptor, as a source and a sink of bytes.
//
// A stop that is requested is noticed within a fraction of a second, however long the other end takes. The
// descriptor may be blocking or not: that belongs to all processes that share it, and is not changed.
#pragma once

#include <string>

#include "base/task.hpp"
#include "io/byte_stream.hpp"

namespace vmad::io {

/// Reads a descriptor at its own position: a pipe, a socket, a file. A pipe whose writer takes its time is
/// waited for, and left when a stop is requested (base::Cancelled).
class StreamSource final : public ByteSource {
  public:
    /// `fd` is borrowed; `name` is what messages call it; `cancel`, if any, outlives this object.
    StreamSource(int fd, std::string name, const base::CancelFlag* cancel)
        : fd_(fd), name_(std::move(name)), cancel_(cancel) {}
    [[nodiscard]] std::size_t read(std::span<iovec> into) override;
    [[nodiscard]] std::optional<std::uint64_t> size_bytes() const override { return std::nullopt; }
    [[nodiscard]] SourceProgress progress() const override { return {done_bytes_, 0}; }

  private:
    int fd_;
    std::string name_;
    const base::CancelFlag* cancel_;
    std::uint64_t done_bytes_ = 0;
};

/// Writes to a descriptor at its own position. A reader that takes its time is waited for, and left when a
/// stop is requested (base::Cancelled). One that is gone shows as SystemError with EPIPE, where SIGPIPE does
/// not end the process before.
class StreamSink final : public ByteSink {
  public:
    /// As for StreamSource.
    StreamSink(int fd, std::string name, const base::CancelFlag* cancel);
    void append(std::span<iovec> slices, std::uint64_t size_bytes) override;
    [[nodiscard]] std::uint64_t written_bytes() const noexcept override { return written_bytes_; }

  private:
    int fd_;
    std::string name_;
    const base::CancelFlag* cancel_;
    bool may_wait_;  ///< a long write may wait for a reader
    std::uint64_t written_bytes_ = 0;
};

}  // namespace vmad::io
