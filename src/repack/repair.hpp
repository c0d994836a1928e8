// Repairs an archive that was damaged since it was published: takes its damaged regions from other backups of
// the guest, and replaces it, as a repack does, by a whole one.
//
// What is published has the digest that the archive was published with; where that is not known, each of its
// regions has the checksum that the archive's seek table (or the store) has for it, or, in a whole frame,
// that of the frame. Nothing else is ever published. One thread; the engine and verification have more.
#pragma once

#include <string>
#include <vector>

#include "access/checksum_store.hpp"
#include "repack/in_place.hpp"
#include "repack/repair_search.hpp"
#include "verify/archive_look.hpp"

namespace vmad::repack {

struct RepairOptions {
    InPlaceOptions in_place;
    std::vector<std::string> donors;  ///< paths; the best first
    std::optional<verify::RecordedDigest> recorded{};
    const access::ChecksumStore* store = nullptr;  ///< may be null
    bool dry_run = false;                          ///< find out, and write nothing
    base::ProgressSink look_progress{};            ///< of reading the archive for damage
    std::function<void(const std::string& donor, const std::string& reason)> donor_left_out{};
    /// What was found, before anything is written. May be empty.
    std::function<void(const std::vector<RepairedStretch>&)> planned{};
};

struct RepairResult {
    InPlaceResult in_place{};
    bool was_damaged = false;  ///< false: the archive is good, and was left as it is
    std::vector<RepairedStretch> stretches{};
    verify::DigestOrigin proof = verify::DigestOrigin::none;  ///< whose digest it has now; none: checksums'
};

/// The archive cannot be repaired. Its stretches say what could be restored.
class Irreparable : public base::InvalidArchive {
  public:
    Irreparable(const std::string& sentence, std::vector<RepairedStretch> stretches)
        : InvalidArchive("irreparable", sentence), stretches_(std::move(stretches)) {}
    [[nodiscard]] const std::vector<RepairedStretch>& stretches() const noexcept { return stretches_; }

  private:
    std::vector<RepairedStretch> stretches_;
};

/// `path` is absolute. Throws Irreparable, and what replace_in_place() throws; the archive is as it was then.
[[nodiscard]] RepairResult repair_in_place(io::FileSystem& fs, const std::string& path,
                                           const RepairOptions& options);

/// Other backups of the guest in the archive's directory: paths, those that were made next to it first.
[[nodiscard]] std::vector<std::string> other_backups(io::FileSystem& fs, const std::string& path);

}  // namespace vmad::repack
