// What the daemon remembers of archives, for commands that do without it as well.
//
// One thread.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "access/checksum_store.hpp"
#include "api/archive_record.hpp"
#include "ctl/commands/command.hpp"
#include "verify/archive_look.hpp"

namespace vmad::ctl {

class KnownArchives {
  public:
    explicit KnownArchives(Context& context) : context_(context) {}

    /// The record of the archive with this absolute path. Nothing without the daemon, or its permission: it
    /// is asked once.
    [[nodiscard]] std::optional<api::ArchiveRecord> find(const std::string& path);
    /// The checksums of regions that the daemon's workers keep; none where they cannot be read.
    [[nodiscard]] const access::ChecksumStore& checksums();

  private:
    Context& context_;
    std::optional<std::map<std::string, api::ArchiveRecord>> records_;
    std::optional<access::ChecksumStore> checksums_;
};

/// The digest in a record.
[[nodiscard]] std::optional<verify::RecordedDigest> recorded_digest(
    const std::optional<api::ArchiveRecord>& record);

}  // namespace vmad::ctl
