// Which archives are verified next, and which are gone: by what was found, and by what the daemon knows.
//
// Pure, but for ArchiveRecords::gone(), which looks into directories. No thread rule.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "api/archive_record.hpp"
#include "ctl/operands/archive_search.hpp"
#include "io/file_system.hpp"
#include "io/mount_table.hpp"

namespace vmad::ctl {

/// An archive that was found, and when all of it was read last.
struct VerificationCandidate {
    FoundArchive archive;
    std::string storage;       ///< Proxmox's name for it; or empty
    std::int64_t read_at = 0;  ///< seconds since the epoch
    friend bool operator==(const VerificationCandidate&, const VerificationCandidate&) = default;
};

/// Least recently read first, and each path once.
void sort_for_verification(std::vector<VerificationCandidate>& candidates);

/// True when it must be read within a day if it is to be read once in `every_seconds`.
[[nodiscard]] bool is_due(const VerificationCandidate& candidate, std::int64_t every_seconds,
                          std::int64_t now) noexcept;

/// How many archives to queue in a day at most: twice as many as if all days were equal.
[[nodiscard]] std::size_t daily_share(std::size_t archive_count, std::int64_t every_seconds) noexcept;

class ArchiveRecords {
  public:
    explicit ArchiveRecords(std::vector<api::ArchiveRecord> records);

    /// An archive that is not known, or was changed since, counts as read when it was modified.
    [[nodiscard]] VerificationCandidate candidate(FoundArchive archive, std::string storage) const;

    /// Those that `wanted` is true for.
    [[nodiscard]] std::vector<std::string> paths(
        const std::function<bool(const std::string& path)>& wanted) const;

    /// What to look for, and what to believe.
    struct Scope {
        /// Archives for which this is false are not looked for: their storage is known to be away.
        std::function<bool(const std::string& path)> includes;
        /// An archive counts as gone although its directory holds no other one either, on a file system that
        /// is shared with other machines. Else its storage may be away behind the mount.
        bool believes_empty = false;
    };
    struct Gone {
        std::vector<std::string> paths;
        std::map<std::string, std::size_t> doubtful;  ///< by directory: so many are in doubt, and kept
    };
    /// Which archives are gone, those in `found` not among them. One whose file system is not mounted, or
    /// whose directory cannot be read, is not.
    [[nodiscard]] Gone gone(io::FileSystem& fs, const io::MountTable& mounts,
                            const std::set<std::string, std::less<>>& found, const Scope& scope) const;

  private:
    std::map<std::string, api::ArchiveRecord, std::less<>> records_;  ///< by path
};

}  // namespace vmad::ctl
