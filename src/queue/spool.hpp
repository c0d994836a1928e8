// The queue on disk: the state directory of the daemon.
//
//     lock            held (flock) by the one daemon that uses the directory
//     queue/ID.json   one file per job: api::Job's JSON form without its progress
//     archives/       what is known of archives (queue/catalogue.hpp)
//     incoming/       what the hook left (queue/incoming.hpp)
//     totals.json     api::Totals of the ended jobs; some that are still in queue/ may be missing in it
//     paused          is there while the administrator wants no job to start
//
// Ids only grow, and the next one follows from the highest id among the names in queue/, so whoever removes
// jobs never removes the one with the highest id. Keeps no jobs in memory. One thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "api/job.hpp"
#include "api/status.hpp"
#include "io/file_system.hpp"

namespace vmad::queue {

/// A file in the state directory that makes no sense, for the log.
struct BadFile {
    std::string name;  ///< as it was, without the directory
    std::string reason;
    friend bool operator==(const BadFile&, const BadFile&) = default;
};

/// Puts such a file out of the way: renames it to NAME.bad, or NAME.1.bad and so on where that is taken, so
/// that somebody can look at it. Throws base::SystemError.
void set_aside(io::FileSystem& fs, const io::File& directory, const std::string& name);

/// True for the names that set_aside gives.
[[nodiscard]] bool is_set_aside(std::string_view name) noexcept;

class Spool {
  public:
    /// Makes what is missing of the directories, mode 0700, and takes the lock for the life of the object.
    /// `fs` outlives it. Throws base::Error "another vmad is using STATE_DIR", after a second in which the
    /// lock could not be had, or base::SystemError.
    Spool(io::FileSystem& fs, const std::string& state_dir);

    struct Contents {
        std::vector<api::Job> jobs;  ///< by ascending id
        std::vector<BadFile> bad;    ///< files that were set aside now
        std::uint64_t last_id = 0;   ///< the highest id ever seen, of set-aside files too; 0 at first
    };
    /// Reads every job. A file that is not a job is set aside; what an interrupted write left is removed.
    [[nodiscard]] Contents load();

    /// Writes a job durably. When it throws, the file is as it was.
    void save(const api::Job& job);
    /// Removes a job that has ended; not the one with the highest id. Not durable: should a power cut bring
    /// it back, it is just an old job once more.
    void remove(std::uint64_t id);

    /// All 0 when there are none yet, or when the file made no sense, which is set aside then and added to
    /// `bad`.
    [[nodiscard]] api::Totals load_totals(std::vector<BadFile>& bad);
    void save_totals(const api::Totals& totals);

    [[nodiscard]] bool is_paused();
    /// Durable when it returns.
    void set_paused(bool paused);

    [[nodiscard]] const io::File& archives_directory() const noexcept { return archives_; }
    [[nodiscard]] const io::File& incoming_directory() const noexcept { return incoming_; }

  private:
    io::FileSystem& fs_;
    io::File state_;
    io::File lock_;
    io::File queue_;
    io::File archives_;
    io::File incoming_;
};

}  // namespace vmad::queue
