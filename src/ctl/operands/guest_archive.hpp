// An archive whose disks are looked into: the word of the command line that names a path in it, and its
// volumes.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "access/disk_reader.hpp"
#include "ctl/operands/archive_task.hpp"
#include "ctl/text/console.hpp"
#include "guest/volume_tree.hpp"
#include "io/file_system.hpp"

namespace vmad::ctl {

/// "ARCHIVE:/path", or an archive alone.
struct GuestPath {
    std::string archive;
    std::optional<std::string> path{};  ///< absolute
};

/// Cuts at the first ":/", which no volume ID has. Throws base::UsageError for a path that does not begin
/// with a slash.
[[nodiscard]] GuestPath guest_path(const std::string& word);

class GuestArchive {
  public:
    /// Opens the archive and reads its index, with progress; `name` as archive_name() returns it. Throws
    /// base::Error, and base::Cancelled.
    GuestArchive(io::FileSystem& fs, Console& console, const std::string& name);

    /// Confines this process (guest/confinement), and finds the volumes; only those of one disk when `volume`
    /// names one of these. Throws base::Error.
    [[nodiscard]] const std::vector<guest::Volume>& enter(const std::string& volume);

  private:
    io::File file_;
    std::unique_ptr<access::ArchiveIndex> index_;
    std::optional<access::DiskReader> reader_;
    std::vector<guest::Volume> volumes_;
};

}  // namespace vmad::ctl
