// The bytes of a canonical archive as they are in a raw `.vma`, read at any offset.
//
// What `vmactl repack` writes to a `.vma`: of a canonical `.vma.zst` this is its decompressed content, found
// by its seek table, each frame's checksum checked; of a raw canonical archive the file itself. What is
// damaged fails the reads that touch it, and no other. Any thread.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>

#include "access/archive_index.hpp"

namespace vmad::access {

class RawView {
  public:
    struct Options {
        std::uint64_t memory_bytes = std::uint64_t{32} << 20;  ///< of decoded frames that are kept
        unsigned read_ahead = 0;  ///< frames decoded ahead of sequential reads; 0: twice the processors
        /// Called once for each damaged frame, by the thread that finds it.
        std::function<void(const base::Error&)> report_damage{};
    };

    /// Of the archive in a regular file. Null where size_of() has nothing. `fs` and `file` outlive the view,
    /// whose memory grows with the number of frames, by 24 bytes for each. Throws base::SystemError.
    [[nodiscard]] static std::unique_ptr<RawView> open(io::FileSystem& fs, const io::File& file,
                                                       Options options);
    /// The size of the view that open() gives. Nothing when the archive is not canonical, as far as its
    /// header and its seek table tell, or those and the last extent of a raw one; or when it is compressed
    /// otherwise. Reads nothing else. Throws base::SystemError.
    [[nodiscard]] static std::optional<std::uint64_t> size_of(io::FileSystem& fs, const io::File& file);

    RawView(const RawView&) = delete;
    RawView& operator=(const RawView&) = delete;
    virtual ~RawView() = default;

    [[nodiscard]] std::uint64_t size_bytes() const noexcept { return size_bytes_; }
    /// [offset, offset + into.size()), which lies within the view. Throws DamagedRegion or another
    /// base::Error, and base::SystemError.
    virtual void read_at(std::uint64_t offset, std::span<std::byte> into) = 0;

  protected:
    explicit RawView(std::uint64_t size_bytes) : size_bytes_(size_bytes) {}

  private:
    std::uint64_t size_bytes_;
};

}  // namespace vmad::access
