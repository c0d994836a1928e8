// Other configs for an archive that is canonical already: a new header, and the regions as they are stored,
// which share their room on the disk where the file system can do that. What comes out is what a repack with
// the configs edited gives.
#pragma once

#include <optional>

#include "engine/ordered_writer.hpp"
#include "engine/repack.hpp"
#include "verify/source_check.hpp"

namespace vmad::repack {

/// Writes the archive in `file`, which is of `format`, with its configs edited to `writer`. It is read to its
/// end first, so that the copy can be compared with what it holds; that reports progress as
/// Stage::repacking, and `check`, which may be null, is told of it. Nothing, and nothing was written, when
/// the archive is not canonical or of a format whose parts cannot be exchanged: that takes a repack. Throws
/// what engine::repack() throws.
[[nodiscard]] std::optional<engine::RepackResult> exchange_configs(io::FileSystem& fs, const io::File& file,
                                                                   codec::ArchiveFormat format,
                                                                   engine::OrderedWriter& writer,
                                                                   const engine::RepackOptions& options,
                                                                   verify::SourceCheck* check = nullptr);

}  // namespace vmad::repack
