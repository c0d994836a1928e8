// The table at the end of a zstd file that says where each of its frames begins: the "zstd seekable format",
// version 0.1.0 (contrib/seekable_format in the sources of zstd).
//
// A skippable frame, so any zstd passes over it: LE32 0x184D2A5E, LE32 size of what follows; for each frame
// LE32 compressed size and LE32 decompressed size [and LE32 checksum, when bit 7 of the descriptor is set];
// footer: LE32 number of frames, descriptor byte, LE32 0x8F92EAB1. A frame's compressed size may include
// skippable frames beside it. In memory are some thousand entries at a time, however many there are.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "io/file_system.hpp"

namespace vmad::codec {

/// More frames than any archive of ours has: 64 TiB in regions of 2 MiB, and what fills its devices up.
inline constexpr std::uint64_t kMaxSeekFrames = (std::uint64_t{1} << 25) + 4096;

/// One frame of a zstd file, as its table has it.
struct SeekFrame {
    std::uint64_t stored_offset = 0;  ///< in the file
    std::uint32_t stored_bytes = 0;   ///< in the file, with skippable frames beside it
    std::uint32_t bytes = 0;          ///< decompressed
    std::uint32_t checksum = 0;       ///< of the content; 0 where the table has none
};

/// Looked up best in ascending order. One thread at a time.
class SeekTable {
  public:
    static constexpr std::size_t kHeaderBytes = 8;  ///< magic number, size of what follows
    static constexpr std::size_t kEntryBytes = 12;  ///< of a frame, with its checksum
    static constexpr std::size_t kFooterBytes = 9;  ///< number of frames, descriptor, magic number

    /// Fills in the sizes and checksums of frames, from the given one on.
    using Load = std::function<void(std::uint64_t first, std::span<SeekFrame> frames)>;

    /// Loads all entries once, and later some at a time. Throws what `load` throws.
    SeekTable(std::uint64_t frame_count, bool has_checksums, Load load);

    [[nodiscard]] std::uint64_t size() const noexcept { return count_; }
    /// Below size(). Throws what the loading throws.
    [[nodiscard]] const SeekFrame& operator[](std::uint64_t frame);

    [[nodiscard]] bool has_checksums() const noexcept { return has_checksums_; }
    /// Of all frames.
    [[nodiscard]] std::uint64_t stored_bytes() const noexcept { return stored_bytes_; }
    [[nodiscard]] std::uint32_t max_stored_bytes() const noexcept { return max_stored_bytes_; }
    [[nodiscard]] std::uint32_t max_bytes() const noexcept { return max_bytes_; }

    // The parts of a table with checksums as they are written. Numbers are taken modulo 2^32.
    [[nodiscard]] static std::array<std::byte, kHeaderBytes> encode_header(std::uint64_t frame_count);
    /// `checksum` is the low half of XXH64 of the frame's content, as the frame itself ends with it.
    [[nodiscard]] static std::array<std::byte, kEntryBytes> encode_entry(std::uint64_t stored_bytes,
                                                                         std::uint64_t bytes,
                                                                         std::uint32_t checksum);
    [[nodiscard]] static std::array<std::byte, kFooterBytes> encode_footer(std::uint64_t frame_count);

  private:
    void load_chunk(std::uint64_t chunk);

    std::uint64_t count_;
    bool has_checksums_;
    Load load_;
    std::vector<std::uint64_t> chunk_offsets_;  ///< stored_offset of the first frame of each chunk
    std::vector<SeekFrame> chunk_;              ///< the one that is in memory
    std::uint64_t chunk_number_ = UINT64_MAX;
    std::uint64_t stored_bytes_ = 0;
    std::uint32_t max_stored_bytes_ = 0;
    std::uint32_t max_bytes_ = 0;
};

/// The last four bytes of a frame: its checksum, when it has one.
[[nodiscard]] std::uint32_t frame_checksum(std::span<const std::byte> frame_end);

/// What the end of a file says about seeking in it.
struct FoundSeekTable {
    std::optional<SeekTable> table;
    std::string defect;  ///< why there is none, when the file ends as if it had one; else empty
};

/// Looks for a table at the end of a regular file. A table is only returned when its frames and itself fill
/// the file; whether the frames are what it says is for the reader of the frames to see. `fs` and `file`
/// outlive the table, which reads on. Throws base::SystemError.
[[nodiscard]] FoundSeekTable read_seek_table(io::FileSystem& fs, const io::File& file);

}  // namespace vmad::codec
