// Writes a file from its first byte to its last, politely.
//
// What was written is pushed out to the device in windows and then dropped from the page cache, so that a
// large copy neither fills the memory of a hypervisor with dirty pages nor displaces what its guests use. One
// thread.
#pragma once

#include <functional>
#include <span>

#include "io/byte_sink.hpp"
#include "io/file_system.hpp"

namespace vmad::engine {

class OrderedWriter final : public io::ByteSink {
  public:
    /// `file` is empty; `fs` and `file` outlive this object. `require_space` is called with what is about to
    /// be written, before the first byte and then for every MiB or more: it throws when there is no room.
    OrderedWriter(io::FileSystem& fs, const io::File& file, std::function<void(std::uint64_t)> require_space);

    void append(std::span<iovec> slices, std::uint64_t size_bytes) override;
    [[nodiscard]] std::uint64_t written_bytes() const noexcept override { return offset_; }

  private:
    void end_window();

    io::FileSystem& fs_;
    const io::File& file_;
    std::function<void(std::uint64_t)> require_space_;
    std::uint64_t offset_ = 0;
    std::uint64_t looked_at_ = 0;  ///< room was last looked for here
    std::uint64_t window_begin_ = 0;
    std::uint64_t settled_ = 0;  ///< on the device and out of the page cache up to here
};

}  // namespace vmad::engine
