// The archive to be replaced: opened below the directories that the administrator allows, and checked to be
// a file that may be replaced.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "base/error.hpp"
#include "io/file_system.hpp"
#include "publish/file_identity.hpp"

namespace vmad::publish {

/// The directory of an archive is not there: its storage may not be mounted. Worth waiting for.
class StorageMissing : public base::Error {
  public:
    using Error::Error;
};

/// The file itself, as it is, must not be replaced: the next time will be the same until somebody changes it.
class Irreplaceable : public base::Error {
  public:
    Irreplaceable(const FileIdentity& file, const std::string& sentence) : Error(sentence), file_(file) {}
    [[nodiscard]] const FileIdentity& file() const noexcept { return file_; }

  private:
    FileIdentity file_;
};

/// An entry of an open directory. All that follows goes by this directory, not by the path any more.
struct ArchiveEntry {
    io::File directory;
    std::string name;
};

/// A regular file without other hard links, not immutable, open for reading, and what it was when it was
/// opened.
struct ArchiveTarget {
    io::File directory;
    std::string name;
    io::File file;
    FileIdentity identity;
};

/// The directory is there, the archive is not.
struct Vanished {};

/// Somebody may still be writing it.
struct TooYoung {
    std::int64_t ready_in_seconds;
};

using OpenedTarget = std::variant<ArchiveTarget, Vanished, TooYoung>;

/// An archive that nobody has announced must have been left alone for this long.
inline constexpr std::int64_t kMinimumAgeSeconds = 60;

/// Opens the directory of `path`, which must be absolute, without "..", and below one of `directories`; any
/// directory will do when there are none. Below them no symbolic link is followed: in a directory that others
/// may write to, it could lead anywhere. Throws StorageMissing when the directory is not there.
[[nodiscard]] ArchiveEntry open_entry(io::FileSystem& fs, const std::string& path,
                                      const std::vector<std::string>& directories);

/// Opens the archive itself. `announced`: it is known to be finished, so its age does not matter, which is
/// otherwise its modification time against `now_seconds` since the epoch. Throws Irreplaceable, or
/// base::Error when its directory is at fault, that says what to do when it may not be replaced.
[[nodiscard]] OpenedTarget open_target(io::FileSystem& fs, ArchiveEntry entry, bool announced,
                                       std::int64_t now_seconds);

}  // namespace vmad::publish
