// The index of a raw archive whose clusters stand anywhere.
//
// Private to this folder. The index: any thread.
#pragma once

#include "access/archive_index.hpp"
#include "access/extent_headers.hpp"

namespace vmad::access {

/// Checks the headers against the rules of the format. Throws base::InvalidArchive, base::Unsupported, and
/// what `headers` throw.
[[nodiscard]] std::unique_ptr<ArchiveIndex> read_raw_index(io::FileSystem& fs, const io::File& file,
                                                           ExtentHeaders& headers);

}  // namespace vmad::access
