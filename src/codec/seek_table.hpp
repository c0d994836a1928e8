// The table at the end of a zstd file that says where each of its frames begins: the "zstd seekable format",
// version 0.1.0 (contrib/seekable_format in the sources of zstd).
//
// A skippable frame, so any zstd passes over it: LE32 0x184D2A5E, LE32 size of what follows; for each frame
// LE32 compressed size and LE32 decompressed size [and LE32 checksum, when bit 7 of the descriptor is set];
// footer: LE32 number of frames, descriptor byte, LE32 0x8F92EAB1. Plain data.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "io/file_system.hpp"

namespace vmad::codec {

/// Of a file with more frames the table is not read, nor written: it is kept in memory. Ours hold 59 clusters
/// of 64 KiB each, so that this is 59 TiB.
inline constexpr std::uint64_t kMaxSeekFrames = (std::uint64_t{1} << 24) + 256;

/// One frame of a zstd file, as its table has it.
struct SeekFrame {
    std::uint64_t stored_offset = 0;  ///< in the file
    std::uint32_t stored_bytes = 0;   ///< in the file
    std::uint32_t bytes = 0;          ///< decompressed
};

struct SeekTable {
    static constexpr std::size_t kHeaderBytes = 8;  ///< magic number, size of what follows
    static constexpr std::size_t kEntryBytes = 8;   ///< of a frame
    static constexpr std::size_t kFooterBytes = 9;  ///< number of frames, descriptor, magic number

    std::vector<SeekFrame> frames;

    /// Appends a frame behind the others.
    void add(std::uint32_t stored_bytes, std::uint32_t bytes);
    /// The skippable frame: header, an entry for each frame, footer. At most kMaxSeekFrames.
    [[nodiscard]] std::vector<std::byte> encode() const;

    // The parts of that. Numbers are taken modulo 2^32.
    [[nodiscard]] static std::array<std::byte, kHeaderBytes> encode_header(std::uint64_t frame_count);
    [[nodiscard]] static std::array<std::byte, kEntryBytes> encode_entry(std::uint64_t stored_bytes,
                                                                         std::uint64_t bytes);
    [[nodiscard]] static std::array<std::byte, kFooterBytes> encode_footer(std::uint64_t frame_count);
};

/// What the end of a file says about seeking in it.
struct FoundSeekTable {
    std::optional<SeekTable> table;
    std::string defect;  ///< why there is none, when the file ends as if it had one; else empty
};

/// Looks for a table at the end of a regular file. A table is only returned when its frames and itself fill
/// the file; whether the frames are what it says is for the reader of the frames to see. Throws
/// base::SystemError.
[[nodiscard]] FoundSeekTable read_seek_table(io::FileSystem& fs, const io::File& file);

}  // namespace vmad::codec
