// The extent headers of a raw archive, from its file or from what was kept of them.
//
// One thread.
#pragma once

#include <memory>
#include <span>

#include "access/index_cache.hpp"
#include "base/task.hpp"
#include "io/file_system.hpp"
#include "vma/format.hpp"

namespace vmad::access {

using RawExtentHeader = std::array<std::byte, vma::kExtentHeaderSize>;

class ExtentHeaders {
  public:
    /// Of `file`, recording them if `recording` is not null. What the arguments refer to outlives this
    /// object.
    ExtentHeaders(io::FileSystem& fs, const io::File& file, const base::TaskOptions& task,
                  std::unique_ptr<HeaderRecording> recording);
    /// Of what was kept.
    ExtentHeaders(io::FileSystem& fs, const io::File& file, const base::TaskOptions& task,
                  std::unique_ptr<KeptHeaders> kept);

    /// The next header, which stands at `offset` of the archive; false when there is none. Reports how far
    /// the archive has come. Throws base::SystemError, base::Cancelled.
    [[nodiscard]] bool read(std::uint64_t offset, std::span<std::byte, vma::kExtentHeaderSize> into);
    /// The next one is the first again.
    void rewind();
    /// All were read, and good.
    void keep();

  private:
    io::FileSystem& fs_;
    const io::File& file_;
    const base::TaskOptions& task_;
    std::uint64_t size_bytes_;
    std::unique_ptr<HeaderRecording> recording_;
    std::unique_ptr<KeptHeaders> kept_;
};

}  // namespace vmad::access
