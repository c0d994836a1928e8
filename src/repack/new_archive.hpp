// Repacks an archive into a new file that appears under its name only when it is whole, synced and verified.
#pragma once

#include <string>

#include "engine/repack.hpp"

namespace vmad::repack {

struct NewArchiveOptions {
    engine::RepackOptions repack;
    bool force = false;  ///< replace an existing destination
    bool verify = true;
    /// What replaces the source itself, for the message when the destination is that.
    std::string in_place_hint = "--in-place repacks an archive under its own name";
};

/// Throws as repack_to_file() would for this destination: for who has much to do before.
void check_new_archive(io::FileSystem& fs, const std::string& destination, const NewArchiveOptions& options);

/// The format of the result is what the destination's ending says, else the source's; options.repack.format
/// and spill.beside do not matter. `source_file` is what `source` reads from, or null when that is a stream.
/// Throws what engine::repack() and verify::CopyVerification throw, and base::UsageError when the destination
/// exists and `force` is not set, is the source itself, is no regular file, or ends as another format does.
/// Whatever happens, nothing but the finished file is left.
[[nodiscard]] engine::RepackResult repack_to_file(io::FileSystem& fs, codec::ArchiveSource& source,
                                                  const io::File* source_file, const std::string& destination,
                                                  const NewArchiveOptions& options);

}  // namespace vmad::repack
