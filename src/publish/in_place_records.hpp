// What an in-place run keeps on disk while it replaces an archive, so that a later run can settle what a
// crash left. The daemon keeps the same record in its job file.
//
// One pair of files for each archive under way, in in-place/ below the state directory: 16 hex digits and
// ".json" with {path, record}, durable, and ".lock", locked as long as its process lives.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "io/file_system.hpp"
#include "publish/publication.hpp"

namespace vmad::publish {

class InPlaceRecord {
  public:
    /// `directory` is the one of the records; it and `fs` outlive this object. Throws base::Error for a path
    /// that is no UTF-8, because the record could not hold it.
    InPlaceRecord(io::FileSystem& fs, const io::File& directory, std::string path);
    InPlaceRecord(const InPlaceRecord&) = delete;
    InPlaceRecord& operator=(const InPlaceRecord&) = delete;
    /// Removes the lock; the record stays, if there is one.
    ~InPlaceRecord();

    /// Keeps the record; when it returns, it is durable.
    void keep(const Publication& record);
    /// The one kept last; nothing when none was.
    [[nodiscard]] const std::optional<Publication>& kept() const noexcept { return kept_; }
    /// The replacement is settled: removes the record.
    void remove();

  private:
    void take_lock();

    io::FileSystem& fs_;
    const io::File& directory_;
    std::string path_;
    std::string stem_;
    io::File lock_;  ///< none as long as there is nothing to keep
    std::optional<Publication> kept_;
};

/// Calls `settle` with path and record of each replacement whose process is gone, and removes the record when
/// it returns true. Throws base::Error when a record is damaged.
void settle_records(io::FileSystem& fs, const io::File& directory,
                    const std::function<bool(const std::string& path, const Publication& record)>& settle);

}  // namespace vmad::publish
