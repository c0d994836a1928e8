// Repacks an archive under its own name: the main job of this program, for the daemon's worker and for
// vmactl.
//
// Opens and checks the file, takes its lock on this node, skips what is canonical already, repacks into a
// temporary file, proves it, and swaps it in (io/replace_file.hpp). At any crash the name holds the whole old
// or the whole new archive.
#pragma once

#include <string>
#include <vector>

#include "io/replace_file.hpp"
#include "repack/repack.hpp"

namespace vmad::repack {

enum class InPlaceOutcome {
    done,        ///< the canonical archive is in place
    unchanged,   ///< it was canonical already
    vanished,    ///< there is no such file, or it was removed meanwhile
    changed,     ///< somebody modified or replaced it meanwhile; theirs is in place
    busy,        ///< another process on this node works on it
    too_young,   ///< modified within the last minute: it may still be written
    no_storage,  ///< its directory is not there: not mounted, perhaps
};

struct InPlaceOptions {
    RepackOptions repack;
    std::vector<std::string> directories;  ///< only below these; empty: anywhere
    bool announced = false;                ///< known to be finished: its age does not matter
    std::string lock_directory;            ///< absolute; made when missing
    io::PublicationJournal journal;        ///< makes the record of the replacement durable
};

struct InPlaceResult {
    InPlaceOutcome outcome = InPlaceOutcome::done;
    std::uint64_t size_before = 0;
    std::uint64_t size_after = 0;
    std::uint64_t reread_bytes = 0;
};

/// `path` is absolute. Throws what repack() and prove() throw, io::NoSpace, and base::Error when the file
/// cannot be replaced safely; the archive is as it was then, and nothing is left behind.
[[nodiscard]] InPlaceResult repack_in_place(io::FileSystem& fs, const std::string& path,
                                            const InPlaceOptions& options);

/// Settles what a crash left of a replacement of `path`, by its record. Afterwards NAME holds the old or the
/// new archive and nothing else is left. Outcomes: done, vanished, changed, no_storage; and unchanged when
/// the old one is still in place, to be repacked anew.
[[nodiscard]] InPlaceOutcome settle_in_place(io::FileSystem& fs, const std::string& path,
                                             const std::vector<std::string>& directories,
                                             const io::Publication& record);

}  // namespace vmad::repack
