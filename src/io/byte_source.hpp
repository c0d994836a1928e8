// Where an archive's bytes come from, in order: a file, a pipe, a decompressor.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "io/file_system.hpp"

namespace vmad::io {

/// How far a source is, counted where its bytes are stored: of a compressed file, compressed bytes.
struct SourceProgress {
    std::uint64_t done_bytes = 0;
    std::uint64_t total_bytes = 0;  ///< 0 where it is not known, for example of a pipe
};

/// One thread at a time.
class ByteSource {
  public:
    virtual ~ByteSource() = default;
    /// The next bytes, as many as fit `into`; fewer only at the end. Returns how many. Throws SystemError.
    [[nodiscard]] virtual std::size_t read(std::span<iovec> into) = 0;
    /// How many bytes there are in all, where that is known.
    [[nodiscard]] virtual std::optional<std::uint64_t> size_bytes() const = 0;
    [[nodiscard]] virtual SourceProgress progress() const = 0;
};

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
