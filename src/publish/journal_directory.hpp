// The journal of vmactl: the recovery records of its replacements under way, so that a later run can recover
// what a crash left. The daemon has no part in it: it keeps the same records in its job files.
//
// One pair of files for each archive under way, in in-place/ below the state directory: 16 hex digits and
// ".json" with {path, record}, durable, and ".lock", locked as long as its process lives.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "io/file_system.hpp"
#include "publish/recovery_record.hpp"

namespace vmad::publish {

/// The record of one replacement.
class JournalEntry {
  public:
    /// `directory` is the one of the records; it and `fs` outlive this object. Throws base::Error for a path
    /// that is no UTF-8, because the record could not hold it.
    JournalEntry(io::FileSystem& fs, const io::File& directory, std::string path);
    JournalEntry(const JournalEntry&) = delete;
    JournalEntry& operator=(const JournalEntry&) = delete;
    /// Removes the lock; the record stays, if there is one.
    ~JournalEntry();

    /// Keeps the record; when it returns, it is durable.
    void keep(const RecoveryRecord& record);
    /// The one kept last; nothing when none was.
    [[nodiscard]] const std::optional<RecoveryRecord>& kept() const noexcept { return kept_; }
    /// The replacement is finished or recovered: removes the record.
    void remove();

  private:
    void take_lock();

    io::FileSystem& fs_;
    const io::File& directory_;
    std::string path_;
    std::string stem_;
    io::File lock_;  ///< none as long as there is nothing to keep
    std::optional<RecoveryRecord> kept_;
};

/// Calls `recover` with path and record of each replacement whose process is gone, and removes the record
/// when it returns true. Then removes what else they left in `directory`. Throws base::Error when a record is
/// damaged.
void recover_journal(
    io::FileSystem& fs, const io::File& directory,
    const std::function<bool(const std::string& path, const RecoveryRecord& record)>& recover);

}  // namespace vmad::publish
