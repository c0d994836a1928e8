// Gets back the payload of an extent that memory had no room for: from the spill file, or from the source
// once more, by its offset. Any thread.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "base/buffer_pool.hpp"
#include "engine/assembler.hpp"
#include "engine/spill_file.hpp"

namespace vmad::engine {

/// Memory that the clusters of an extent point into.
struct LoadedPayload {
    std::vector<SpillFile::Record> spilled;
    std::shared_ptr<base::Buffer> reread;
};

class PayloadLoader {
  public:
    /// `source` is the raw archive in a file, or null when it cannot be read again: nothing is dropped then.
    /// All arguments outlive this object.
    PayloadLoader(io::FileSystem& fs, const io::File* source, base::BufferPool& buffers, SpillFile& spill)
        : fs_(fs), source_(source), buffers_(buffers), spill_(spill) {}

    /// Completes the clusters of the extent: all that have blocks point to them, as long as the result lives.
    /// Throws base::FormatError when the source became shorter, and base::Error.
    [[nodiscard]] LoadedPayload complete(AssembledExtent& extent);

    /// Of the source, read a second time.
    [[nodiscard]] std::uint64_t reread_bytes() const noexcept { return reread_bytes_; }

  private:
    void read_again(AssembledExtent& extent, LoadedPayload& payload);

    io::FileSystem& fs_;
    const io::File* source_;
    base::BufferPool& buffers_;
    SpillFile& spill_;
    std::atomic<std::uint64_t> reread_bytes_ = 0;
};

}  // namespace vmad::engine
