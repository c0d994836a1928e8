// Reads a file as its device holds it, past the page cache (O_DIRECT), some chunks ahead.
#pragma once

#include <deque>
#include <memory>

#include "base/buffer_pool.hpp"
#include "io/byte_stream.hpp"
#include "io/file_system.hpp"
#include "io/written_boundary.hpp"

namespace vmad::io {

/// One thread at a time.
class DirectSource final : public ByteSource {
  public:
    /// `fs` and `file`, which was synced, outlive this object. Where a file system knows no O_DIRECT, the
    /// page cache is dropped first as far as that can be asked for, and the file is read through it.
    DirectSource(FileSystem& fs, const File& file);
    /// A file that is still being written, read as far as `boundary` says, which outlives this object: its
    /// next bytes are waited for. read() throws base::Cancelled when the writing was abandoned.
    DirectSource(FileSystem& fs, const File& file, const WrittenBoundary& boundary);
    DirectSource(const DirectSource&) = delete;
    DirectSource& operator=(const DirectSource&) = delete;

    [[nodiscard]] std::size_t read(std::span<iovec> into) override;
    /// Known once the file is complete.
    [[nodiscard]] std::optional<std::uint64_t> size_bytes() const override {
        return complete_ ? std::optional(end_) : std::nullopt;
    }
    [[nodiscard]] SourceProgress progress() const override { return {used_bytes_, complete_ ? end_ : 0}; }

  private:
    struct Chunk {
        std::shared_ptr<base::Buffer> buffer;
        std::uint64_t offset = 0;
        std::size_t size = 0;
    };
    DirectSource(FileSystem& fs, const File& file, const WrittenBoundary* boundary);
    void drop_cached();
    void look_for_more(const WrittenBoundary::State& written);
    void fetch_ahead();
    void start(Chunk chunk);
    void finish(Chunk& chunk);
    bool next_chunk();

    FileSystem& fs_;
    File own_;  ///< the file once more, opened for direct reads, if that can be
    const File& file_;
    const WrittenBoundary* boundary_;  ///< none: the file was complete from the start
    base::BufferPool buffers_;
    std::uint64_t end_ = 0;      ///< the file can be read up to here
    bool complete_ = false;      ///< which is its end
    std::uint64_t fetched_ = 0;  ///< chunks were asked for up to here
    Chunk chunk_;
    std::size_t used_ = 0;              ///< of chunk_
    std::uint64_t used_bytes_ = 0;      ///< of the file
    std::deque<Chunk> ahead_;           ///< those that are being read
    std::unique_ptr<ReadQueue> reads_;  ///< last: ends before the memory that it reads into
};

}  // namespace vmad::io
