// The directories of backups that words of the command line mean: paths, or storages of Proxmox VE.
#pragma once

#include <string>
#include <vector>

#include "ctl/text/console.hpp"
#include "io/file_system.hpp"
#include "pve/storage_config.hpp"

namespace vmad::ctl {

struct DumpDirectory {
    std::string
        name;  ///< the storage's, or the last component of the path; one that is taken gets "-2" and so on
    std::string path;  ///< absolute
};

/// A word with a slash in it, or "." or "..", is a path; any other is a storage, or else a directory here.
/// What storage.cfg has that makes no sense is written to the console. Throws base::UsageError for a storage
/// that backups cannot be read from, and base::Error for one that is not mounted.
[[nodiscard]] std::vector<DumpDirectory> dump_directories(io::FileSystem& fs, Console& console,
                                                          const std::vector<std::string>& words);

/// Of this name. Throws what StorageConfig::file_storage() throws, and base::UsageError for one that is not
/// enabled on this node, or not for backups.
[[nodiscard]] const pve::Storage& backup_storage(const pve::StorageConfig& config, const std::string& id);

/// That one; or, for "all", every one that is enabled on this node and for backups.
[[nodiscard]] std::vector<pve::Storage> chosen_storages(const pve::StorageConfig& config,
                                                        const std::string& id);

/// False for a storage that is to be mounted, and is not.
[[nodiscard]] bool is_mounted(io::FileSystem& fs, const pve::Storage& storage);
[[nodiscard]] std::string not_mounted_text(const pve::Storage& storage);

}  // namespace vmad::ctl
