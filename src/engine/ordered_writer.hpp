// Writes a file from its first byte to its last, politely.
//
// What was written is pushed out to the device in windows and then dropped from the page cache, so that a
// large copy neither fills the memory of a hypervisor with dirty pages nor displaces what its guests use. One
// thread.
#pragma once

#include <functional>
#include <span>

#include "io/byte_stream.hpp"
#include "io/file_system.hpp"

namespace vmad::engine {

class OrderedWriter final : public io::ByteSink {
  public:
    /// May be empty. What they throw ends the writing.
    struct Callbacks {
        /// With what is about to be written, before the first byte and then for every MiB or more: throws
        /// when there is no room.
        std::function<void(std::uint64_t more_bytes)> require_space;
        /// When the first `bytes` bytes of the file are on the device, if that can be told
        /// (io::FileSystem::push_out): every 32 MiB, but not at the end.
        std::function<void(std::uint64_t bytes)> on_device;
    };

    /// `file` is empty; `fs` and `file` outlive this object.
    OrderedWriter(io::FileSystem& fs, const io::File& file, Callbacks callbacks);

    void append(std::span<iovec> slices, std::uint64_t size_bytes) override;
    /// Appends bytes of another file, which shares them where the file system can. Throws what append()
    /// throws, and base::Error when the file ends before.
    void copy(const io::File& from, std::uint64_t from_offset, std::uint64_t size_bytes);
    [[nodiscard]] std::uint64_t written_bytes() const noexcept override { return offset_; }

  private:
    void require_space(std::uint64_t size_bytes);
    [[nodiscard]] std::size_t copy_some(const io::File& from, std::uint64_t from_offset,
                                        std::size_t size_bytes);
    void end_window();

    io::FileSystem& fs_;
    const io::File& file_;
    Callbacks callbacks_;
    std::uint64_t offset_ = 0;
    std::uint64_t looked_at_ = 0;  ///< room was last looked for here
    std::uint64_t window_begin_ = 0;
    std::uint64_t on_device_ = 0;  ///< on the device and out of the page cache up to here
};

}  // namespace vmad::engine
