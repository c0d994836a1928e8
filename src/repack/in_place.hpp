// Repacks an archive under its own name: the main job of this program, for the daemon's worker and for
// vmactl.
//
// Opens and checks the file, takes its lock on this node, skips what is canonical already, repacks into a
// temporary file, proves it, and swaps it in (io/replace_file.hpp). At any crash the name holds the whole old
// or the whole new archive.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/ordered_writer.hpp"
#include "engine/repack.hpp"
#include "publish/replace_file.hpp"
#include "verify/copy_verification.hpp"

namespace vmad::repack {

enum class InPlaceOutcome {
    done,              ///< the canonical archive is in place
    in_grace_period,   ///< as done, and the old file is still there: see InPlaceOptions::keep_original
    unchanged,         ///< the archive is as it was: canonical already, or back after an interrupted run
    vanished,          ///< there is no such file, or it was removed meanwhile
    changed,           ///< somebody modified or replaced it meanwhile; theirs is in place
    locked,            ///< another process on this node works on it
    open_for_writing,  ///< in another process; the archive is as it was
    too_recent,        ///< modified within the last minute: it may still be written
};

struct InPlaceOptions {
    /// Its kind and spill.beside do not matter: the archive's kind is kept, its directory comes first.
    engine::RepackOptions repack;
    io::CacheUse source_cache = io::CacheUse::keep;
    base::VerifySource verify_source = base::VerifySource::automatic;
    std::vector<std::string> directories;  ///< only below these; empty: anywhere
    bool announced = false;                ///< known to be finished: its age does not matter
    std::string lock_directory;            ///< absolute; made when missing
    /// To be left free beside the archive: io::default_reserve() when not given.
    std::optional<std::uint64_t> reserve_bytes;
    /// On a network file system the old file is kept, because another node may be reading it: until
    /// recover_in_place() is called with the last record.
    bool keep_original = false;
    /// The archive may be replaced, and has to be read: it is this file. May be empty.
    std::function<void(const publish::FileIdentity&)> opened;
    /// A copy of about so many bytes is about to be written. What it throws ends the run. May be empty.
    std::function<void(std::uint64_t size_bytes)> before_copy;
    publish::RecordSink journal;  ///< makes the record of the replacement durable
    /// Reports when the copy is read back: decided by the storage, once for each repack. May be empty.
    std::function<void(verify::ReadBack)> read_back_chosen;
};

struct InPlaceResult {
    InPlaceOutcome outcome = InPlaceOutcome::done;
    std::uint64_t size_before = 0;
    std::uint64_t size_after = 0;
    std::uint64_t reread_bytes = 0;   ///< of the archive, read twice because memory was short
    std::uint64_t spilled_bytes = 0;  ///< written to disk meanwhile, for the same reason
    /// What was odd about how the archive was stored, or a file that was left beside it; or empty.
    std::string warning{};
    std::int64_t ready_in_seconds = 0;  ///< of too_recent
    // Of an archive that was published: hexadecimal.
    std::string digest{};
    std::map<std::string, std::string> device_digests{};  ///< by name
};

/// What takes the place of an archive.
struct Replacement {
    codec::ArchiveFormat format = codec::ArchiveFormat::raw;
    /// Writes it, in this format, to `writer`; `original` is the archive. Appends to `warning`. The copy is
    /// read back and compared with the result.
    std::function<engine::RepackResult(const io::File& original, engine::OrderedWriter& writer,
                                       engine::RepackOptions options, std::string& warning)>
        write;
    /// Throws what is to keep the copy, which has been verified, from being published; returns a sentence
    /// that warns, or nothing. May be empty.
    std::function<std::string()> verify_source{};
};

/// Replaces an archive by what `make` decides on while it is open and locked; the archive stays as it is
/// where that is nothing. What `make` throws is passed on, but for damage while somebody writes to the
/// archive. Otherwise as repack_in_place().
[[nodiscard]] InPlaceResult replace_in_place(
    io::FileSystem& fs, const std::string& path, const InPlaceOptions& options,
    const std::function<std::optional<Replacement>(const io::File& original)>& make);

struct RecoveredInPlace {
    InPlaceOutcome outcome = InPlaceOutcome::unchanged;
    std::string warning{};  ///< as in InPlaceResult
};

/// The file system has no room for the copy, as writing a part of it has shown.
class NoSpaceForCopy : public io::NoSpace {
  public:
    /// `free_bytes` are shown as free, `written_bytes` of the copy, which were there, included; none if it
    /// shows none.
    NoSpaceForCopy(const io::NoSpace& error, std::optional<std::uint64_t> free_bytes,
                   std::uint64_t written_bytes, std::uint64_t size_bytes)
        : NoSpace(error), free_bytes_(free_bytes), written_bytes_(written_bytes), size_bytes_(size_bytes) {}
    [[nodiscard]] std::optional<std::uint64_t> free_bytes() const noexcept { return free_bytes_; }
    [[nodiscard]] std::uint64_t written_bytes() const noexcept { return written_bytes_; }
    /// Of the archive.
    [[nodiscard]] std::uint64_t size_bytes() const noexcept { return size_bytes_; }

  private:
    std::optional<std::uint64_t> free_bytes_;
    std::uint64_t written_bytes_;
    std::uint64_t size_bytes_;
};

/// `path` is absolute. Throws what engine::repack(), verify::CopyVerification and verify::SourceCheck throw,
/// base::InvalidArchive when the archive is not what it was published as (verify/published_digest.hpp),
/// publish::StorageMissing when its directory is not there, io::NoSpace (NoSpaceForCopy when a part was
/// written), and base::Error when the file cannot be replaced safely; the archive is as it was then. When
/// something was journalled, recover_in_place() is due before the next attempt.
[[nodiscard]] InPlaceResult repack_in_place(io::FileSystem& fs, const std::string& path,
                                            const InPlaceOptions& options);

/// Recovers from a crash or an error in a replacement of `path`, by its last record: afterwards the name
/// holds the new archive (done), the old one (unchanged), somebody else's (changed) or nothing (vanished),
/// and nothing of ours is beside it; a file that may be ours is named in the warning. No value when another
/// process works on it. Throws publish::StorageMissing and base::Error; it may be called again then.
[[nodiscard]] std::optional<RecoveredInPlace> recover_in_place(io::FileSystem& fs, const std::string& path,
                                                               const InPlaceOptions& options,
                                                               const publish::RecoveryRecord& record);

}  // namespace vmad::repack
