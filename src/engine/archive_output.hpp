// The last step before the bytes are stored: an archive's header and extents, in the format of file that is
// wanted.
//
// Raw and lzo take the archive's bytes as they are. zstd and gzip take a frame for the header, and one for
// each extent with payload, which the caller has compressed with encoders of its own; extents without payload
// that follow each other within a group are compressed here, into one frame. A zstd file also gets what fills
// its frames up to pages, and its seek table. One thread at a time.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/limits.hpp"
#include "base/task.hpp"
#include "codec/archive_format.hpp"
#include "codec/frame_encoder.hpp"
#include "codec/lzop.hpp"
#include "engine/seek_entries.hpp"
#include "io/byte_stream.hpp"

namespace vmad::engine {

class ArchiveOutput {
  public:
    struct Options {
        codec::ArchiveFormat format = codec::ArchiveFormat::raw;
        int zstd_level = base::kDefaultZstdLevel;
        SpillPlace spill;  ///< for a long seek table
    };

    /// `fs`, `sink`, `cancel` and spill.beside outlive this object.
    ArchiveOutput(io::FileSystem& fs, io::ByteSink& sink, const Options& options,
                  const base::CancelFlag& cancel);

    /// An encoder for a thread that prepares frames; null when append() is to be called.
    [[nodiscard]] std::unique_ptr<codec::FrameEncoder> make_encoder() const;

    /// Bytes of the archive, in a format without frames. Returns where they begin in the file; 0 for lzo,
    /// which does not tell. Throws what the sink throws, here and below.
    std::uint64_t append(std::span<iovec> slices, std::uint64_t size_bytes);
    /// The frame that holds the header.
    void append_header(std::span<const std::byte> frame, std::size_t bytes);
    /// A frame that holds `bytes` of an extent with payload. Returns where it begins in the file.
    std::uint64_t append_region(std::span<const std::byte> frame, std::size_t bytes);
    /// Extents of one group that have no payload, from `number` on, in a format with frames.
    void append_empty(std::uint64_t number, std::span<const std::byte> extents);
    /// The archive is complete: writes what belongs at its end.
    void finish();

  private:
    /// The last frame that was written; what fills up behind it counts as part of it.
    struct Entry {
        std::uint64_t stored_bytes = 0;
        std::size_t bytes = 0;
        std::uint32_t checksum = 0;
    };

    [[nodiscard]] bool is_zstd() const noexcept { return options_.format == codec::ArchiveFormat::zstd; }
    void append_frame(std::span<const std::byte> frame, std::size_t bytes);
    void write(std::span<const std::byte> bytes);
    void fill_page();
    void end_run();

    io::ByteSink& sink_;
    Options options_;
    std::unique_ptr<codec::FrameEncoder> encoder_;  ///< of the runs
    std::vector<std::byte> run_;                    ///< extents without payload that share a frame
    std::vector<std::byte> run_frame_;
    std::optional<Entry> entry_;
    std::uint64_t stored_bytes_ = 0;
    SeekEntries entries_;
    std::optional<codec::LzopSink> lzop_;
};

}  // namespace vmad::engine
