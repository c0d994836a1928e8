// One process of this node at a time works on an archive, under whatever name it knows it.
//
// The archive itself is never locked: a lock on CIFS is mandatory and would break a restore. Instead a file
// named after device and inode is locked, in a directory of our own on a local file system.
#pragma once

#include <optional>
#include <string>

#include "io/file_system.hpp"
#include "publish/file_identity.hpp"

namespace vmad::publish {

/// Held until destroyed; then the lock file is removed. A process that dies lets go too.
class InodeLock {
  public:
    /// Nothing when somebody else holds it. `directory` is made (0700) when it is not there, its parent must
    /// be. `fs` outlives the lock. Throws base::SystemError, and base::Error where a file is not found again.
    [[nodiscard]] static std::optional<InodeLock> take(io::FileSystem& fs, const std::string& directory,
                                                       const FileIdentity& file);

    InodeLock(InodeLock&& other) noexcept = default;
    InodeLock& operator=(InodeLock&& other) = delete;
    InodeLock(const InodeLock&) = delete;
    InodeLock& operator=(const InodeLock&) = delete;
    ~InodeLock();

  private:
    InodeLock(io::FileSystem& fs, io::File directory, std::string name, io::File file)
        : fs_(fs), directory_(std::move(directory)), name_(std::move(name)), file_(std::move(file)) {}

    io::FileSystem& fs_;
    io::File directory_;
    std::string name_;
    io::File file_;  ///< locked; moved-from locks have none
};

}  // namespace vmad::publish
