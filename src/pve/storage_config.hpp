// The storages of a Proxmox VE node that hold backups as files, from /etc/pve/storage.cfg.
//
// Only that file is read; no storage is touched, so a hung share does not matter here. Immutable once read:
// any thread may ask.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/file_system.hpp"

namespace vmad::pve {

/// What Proxmox VE calls this host: the host name up to its first dot. Throws base::SystemError.
[[nodiscard]] std::string node_name();

/// A storage whose type keeps volumes as files: dir, nfs, cifs, cephfs, glusterfs, btrfs.
struct Storage {
    std::string id;
    std::string type;
    std::string path;              ///< absolute
    std::string dump_directory{};  ///< where its backups are, below `path`
    /// Must be a mount point for the storage to be there; empty for one that is a plain directory.
    std::string mount_point{};
    bool holds_backups = false;  ///< its content is, among other things, backups
    bool enabled = false;        ///< not disabled, and meant for this node
    friend bool operator==(const Storage&, const Storage&) = default;
};

/// "STORAGE:backup/NAME", as Proxmox names a backup.
struct VolumeId {
    std::string storage;
    std::string name;
    friend bool operator==(const VolumeId&, const VolumeId&) = default;
};

/// Nothing when `text` is no volume id of a backup, whatever NAME is.
[[nodiscard]] std::optional<VolumeId> parse_volume_id(std::string_view text);

/// What a volume id, "STORAGE:VOLUME", names that is no backup: "an ISO image", "a guest's disk", …; by its
/// form alone. Nothing for every other text.
[[nodiscard]] std::optional<std::string_view> content_of_volume(std::string_view text);

class StorageConfig {
  public:
    /// Reads base::system_path("/etc/pve/storage.cfg") for this host. Throws base::SystemError, for example
    /// where there is no Proxmox VE.
    [[nodiscard]] static StorageConfig read(io::FileSystem& fs);

    /// `path` is for messages, `node` the name of this node. What makes no sense is left out.
    [[nodiscard]] static StorageConfig parse(std::string_view text, const std::string& path,
                                             std::string_view node);

    /// Those that hold files, in the order of the file; "local" is among them, as Proxmox has it, unless
    /// what the file says of it makes no sense.
    [[nodiscard]] const std::vector<Storage>& storages() const noexcept { return storages_; }

    /// "PATH:LINE: what was left out, and why"; but not that `wanted`, a storage, was, because file_storage()
    /// says so.
    [[nodiscard]] std::vector<std::string> warnings(std::string_view wanted = {}) const;

    /// One of storages(), whether or not it is enabled. Throws base::UsageError that names the storage when
    /// there is none, and its type when that holds no files; base::Error "PATH:LINE: what is wrong" when it
    /// was left out.
    [[nodiscard]] const Storage& file_storage(std::string_view id) const;

    /// The absolute path of a backup, whether or not it is there. Throws what file_storage() throws, and
    /// base::UsageError when NAME is not the name of an entry of the dump directory.
    [[nodiscard]] std::string path_of(const VolumeId& volume) const;

  private:
    /// "local" is a directory of Proxmox's, whatever the file says.
    void set_local();

    std::string path_;
    std::vector<Storage> storages_;
    std::vector<std::string> warnings_;                            ///< of lines
    std::map<std::string, std::string, std::less<>> skipped_;      ///< why a storage was left out, by id
    std::map<std::string, std::string, std::less<>> other_types_;  ///< by id, of storages that hold no files
};

}  // namespace vmad::pve
