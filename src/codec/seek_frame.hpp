// Reads single frames of a zstd file by its seek table, without what stands before them.
//
// Any thread.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "codec/seek_table.hpp"

namespace vmad::codec {

/// All of the frame's content, compared with its checksum. Nothing when there is no such frame there: its
/// size in the file or decompressed is another than the table says, it is damaged or does not tell its
/// checksum and content size, or the table says more than `limit_bytes`. Throws base::SystemError.
[[nodiscard]] std::optional<std::vector<std::byte>> read_frame(io::FileSystem& fs, const io::File& file,
                                                               const SeekFrame& frame,
                                                               std::size_t limit_bytes);

/// How many bytes the frame itself has in the file, without the skippable ones behind it. Nothing when none
/// begins there that has no more content than `limit_bytes`. Throws base::SystemError.
[[nodiscard]] std::optional<std::uint64_t> own_stored_bytes(io::FileSystem& fs, const io::File& file,
                                                            const SeekFrame& frame, std::size_t limit_bytes);

/// The first bytes of the frame's content, as many as fit `into`, reading and decompressing little more than
/// they need. False when there is no frame there with a content size as in the table and a checksum flag, or
/// it has less. Throws base::SystemError.
[[nodiscard]] bool read_frame_start(io::FileSystem& fs, const io::File& file, const SeekFrame& frame,
                                    std::span<std::byte> into);

}  // namespace vmad::codec
