// One replacement on a small archive, for the fault tests to break in every way.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "publish/recovery.hpp"
#include "publish/recovery_record.hpp"
#include "publish/replace_file.hpp"
#include "support/fault_file_system.hpp"
#include "support/temporary_directory.hpp"

namespace vmad::fault {

inline const std::string kName = "vzdump-qemu-100.vma";
inline const std::string kOld = "the old archive, as dumped";
inline const std::string kNew = "the new archive: same guest, other bytes";

/// What the file system under the archive can do, and whether the original is to be kept.
struct Abilities {
    std::string title;
    bool unnamed;
    bool exchange;
    bool links;
    bool keep_original;
    support::Numbers numbers = support::Numbers::kept;
    bool leases = true;

    /// Without an exchange and without links there is no way to keep it.
    [[nodiscard]] bool keeps_original() const { return keep_original && (exchange || links); }
    /// How a replacement ends when all goes well.
    [[nodiscard]] publish::PublishOutcome success() const {
        return keeps_original() ? publish::PublishOutcome::grace_period : publish::PublishOutcome::published;
    }
};
/// All ways that a replacement may go.
[[nodiscard]] const std::vector<Abilities>& all_abilities();
/// The same without leases, by which the kernel tells who writes, and lets him wait.
[[nodiscard]] std::vector<Abilities> all_without_leases();
void restrict_to(const Abilities& abilities, support::FaultFileSystem& fs);

/// A directory with the old archive in it, with metadata to copy.
class Storage {
  public:
    Storage();
    [[nodiscard]] const support::TemporaryDirectory& directory() const noexcept { return directory_; }
    [[nodiscard]] std::string archive() const { return directory_ / kName; }
    /// Nothing when the archive is not there.
    [[nodiscard]] std::optional<std::string> content() const;
    /// The archive holds one of the two contents, whole.
    [[nodiscard]] bool is_whole() const;
    /// Nothing but the archive is in the directory.
    [[nodiscard]] bool is_clean() const;
    /// The old content, and nothing else, is beside the archive.
    [[nodiscard]] bool is_in_grace_period() const;
    [[nodiscard]] io::File open(io::FileSystem& fs) const;

  private:
    support::TemporaryDirectory directory_;
};

using Journal = std::function<void(const publish::RecoveryRecord&)>;

/// The whole replacement, from opening the archive on; `on_opened` is called when the archive is remembered.
/// Writing the journal counts as a call of `fs`, which has no other abilities afterwards.
publish::PublishOutcome replace(const Abilities& abilities, support::FaultFileSystem& fs,
                                const Storage& storage, const Journal& journal,
                                const std::function<void()>& on_opened = {});

/// How many calls a replacement takes when all goes well.
[[nodiscard]] unsigned count_calls(const Abilities& abilities);

/// Recovers in the storage's directory.
publish::RecoveryOutcome recover(io::FileSystem& fs, const Storage& storage,
                                 const publish::RecoveryRecord& record);

/// The content agrees with what was reported.
[[nodiscard]] bool agrees(const Storage& storage, publish::PublishOutcome outcome);
[[nodiscard]] bool agrees(const Storage& storage, publish::RecoveryOutcome outcome);

}  // namespace vmad::fault
