// A file as a source of bytes, read through the page cache with care for it.
#pragma once

#include <cstdint>

#include "io/byte_stream.hpp"
#include "io/file_system.hpp"

namespace vmad::io {

/// What becomes of the page cache behind a sequential reader.
enum class CacheUse {
    peek,         ///< only some of it will be read: nothing is read ahead
    keep,         ///< as any program
    drop_behind,  ///< what was read is not kept: a daemon must not push the guests' pages out
};

/// A file from its first byte on, with read-ahead. `fs` and `file` outlive it; the file's own position is not
/// used, so that others may read at their offsets meanwhile.
class FileSource final : public ByteSource {
  public:
    FileSource(FileSystem& fs, const File& file, CacheUse cache_use);
    [[nodiscard]] std::size_t read(std::span<iovec> into) override;
    [[nodiscard]] std::optional<std::uint64_t> size_bytes() const override { return size_bytes_; }
    [[nodiscard]] SourceProgress progress() const override { return {offset_, size_bytes_}; }

  private:
    void advise_window();

    FileSystem& fs_;
    const File& file_;
    CacheUse cache_use_;
    std::uint64_t size_bytes_;
    std::uint64_t offset_ = 0;
    std::uint64_t ahead_ = 0;   ///< read-ahead was asked for up to here
    std::uint64_t behind_ = 0;  ///< the page cache was dropped up to here
};

}  // namespace vmad::io
