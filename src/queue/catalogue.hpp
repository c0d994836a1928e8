// The catalogue: what the daemon knows of archives, in memory over `archives/` in the state directory.
//
//     archives/N.json   api::ArchiveRecord of one archive; N means nothing and may be used again
//
// Records come from workers and go when somebody has looked and found the archive gone; the catalogue itself
// never looks. Every change is on disk before it can be seen here, as in queue/queue.hpp. At most
// kMostArchives are kept: beyond, the oldest backup is forgotten. One thread.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "api/archive_record.hpp"
#include "api/job.hpp"
#include "api/status.hpp"
#include "api/worker_messages.hpp"
#include "queue/spool.hpp"

namespace vmad::queue {

/// More than anybody keeps; a record takes some 700 bytes of memory.
inline constexpr std::size_t kMostArchives = 100'000;

class Catalogue {
  public:
    struct Entry {
        api::ArchiveRecord record;
        std::uint64_t number = 0;  ///< of its file
    };
    struct ByPath {
        using is_transparent = void;
        bool operator()(const Entry& a, const Entry& b) const { return a.record.path < b.record.path; }
        bool operator()(const Entry& a, std::string_view b) const { return a.record.path < b; }
        bool operator()(std::string_view a, const Entry& b) const { return a < b.record.path; }
    };
    using Entries = std::set<Entry, ByPath>;

    /// Loads what is there. A file that is no record, or a second one of its path, is set aside; what an
    /// interrupted write left is removed. `fs` and `directory` outlive this. Throws base::SystemError.
    Catalogue(io::FileSystem& fs, const io::File& directory, std::size_t most = kMostArchives);

    /// Files that were set aside at the start, for the log.
    [[nodiscard]] const std::vector<BadFile>& bad_files() const noexcept { return bad_files_; }

    [[nodiscard]] const Entries& entries() const noexcept { return entries_; }
    /// Null when it is not known. Holds until the next change of it.
    [[nodiscard]] const api::ArchiveRecord* find(std::string_view path) const;
    /// Paths of the archives of this guest in the directory of `path`, without that one: the newest first, at
    /// most `most`.
    [[nodiscard]] std::vector<std::string> beside(const std::string& path, std::optional<std::uint64_t> vmid,
                                                  std::size_t most) const;
    /// `verify_every_seconds` as in api::is_overdue(). Archives that are not below one of the `directories`,
    /// if there are any, cannot be verified, so they are not overdue.
    [[nodiscard]] api::ArchiveCounts counts(std::optional<std::int64_t> verify_every_seconds,
                                            std::int64_t now,
                                            const std::vector<std::string>& directories = {}) const;

    /// Makes this what is known of its archive, durably; does nothing when it is already. Throws
    /// base::SystemError, and nothing has changed then.
    void put(const api::ArchiveRecord& record);
    /// Somebody knows of the damage of this archive, if it is known to be damaged. Throws base::SystemError.
    void acknowledge(std::string_view path);
    /// False when it was not known. Not durable: should a power cut bring it back, somebody will find it gone
    /// once more. Throws base::SystemError.
    bool forget(std::string_view path);

  private:
    void forget(Entries::iterator entry);
    void drop_oldest();

    io::FileSystem& fs_;
    const io::File& directory_;
    std::size_t most_;
    Entries entries_;
    std::uint64_t last_number_ = 0;
    std::vector<BadFile> bad_files_;
};

/// What is to be known of the archive of a job after a run with this result, or nothing new. The result's
/// record says what the worker saw; what it leaves open is filled from the job, and from what was known
/// (`known`, or null) as far as that is of the same file.
[[nodiscard]] std::optional<api::ArchiveRecord> record_after(const api::ArchiveRecord* known,
                                                             const api::Job& job,
                                                             const api::WorkerResult& result);

}  // namespace vmad::queue
