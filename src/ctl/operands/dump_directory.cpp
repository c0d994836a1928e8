#include "ctl/operands/dump_directory.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <optional>

#include <fmt/format.h>

#include "base/path.hpp"
#include "ctl/operands/archive_name.hpp"
#include "io/mount_table.hpp"

namespace vmad::ctl {
namespace {

bool is_path(const std::string& word) {
    return word.empty() || word == "." || word == ".." || word.find('/') != std::string::npos;
}

bool is_directory(const std::string& path) {
    struct stat status {};
    return ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

/// Nothing where there is no Proxmox VE.
std::optional<pve::StorageConfig> storages(io::FileSystem& fs) {
    try {
        return pve::StorageConfig::read(fs);
    } catch (const base::SystemError& error) {
        if (error.number() != ENOENT) throw;
        return std::nullopt;
    }
}

DumpDirectory directory_at(const std::string& word) {
    auto path = absolute_path(word);
    std::string name(base::file_name(path));
    return {name.empty() ? "root" : std::move(name), std::move(path)};
}

DumpDirectory directory_of(io::FileSystem& fs, Console& console, const std::string& word) {
    if (is_path(word)) return directory_at(word);
    const auto config = storages(fs);
    const auto is_known = [&] {
        return std::any_of(config->storages().begin(), config->storages().end(),
                           [&](const pve::Storage& storage) { return storage.id == word; });
    };
    if (!config || (!is_known() && is_directory(word))) return directory_at(word);
    for (const auto& warning : config->warnings(word)) console.message_once(warning);
    const auto& storage = backup_storage(*config, word);
    if (!is_mounted(fs, storage)) throw base::Error(not_mounted_text(storage));
    return {word, storage.dump_directory};
}

std::string free_name(const std::string& name, const std::vector<DumpDirectory>& taken) {
    auto candidate = name;
    const auto is_taken = [&](const DumpDirectory& one) { return one.name == candidate; };
    for (unsigned number = 2; std::any_of(taken.begin(), taken.end(), is_taken); ++number)
        candidate = fmt::format("{}-{}", name, number);
    return candidate;
}

}  // namespace

std::vector<DumpDirectory> dump_directories(io::FileSystem& fs, Console& console,
                                            const std::vector<std::string>& words) {
    std::vector<DumpDirectory> directories;
    for (const auto& word : words) {
        auto directory = directory_of(fs, console, word);
        directory.name = free_name(directory.name, directories);
        directories.push_back(std::move(directory));
    }
    return directories;
}

const pve::Storage& backup_storage(const pve::StorageConfig& config, const std::string& id) {
    const auto& storage = config.file_storage(id);
    if (!storage.enabled)
        throw base::UsageError(
            fmt::format("storage \"{}\" is disabled or not available on this node", storage.id));
    if (!storage.holds_backups)
        throw base::UsageError(fmt::format("storage \"{}\" is not configured for backups", storage.id));
    return storage;
}

std::vector<pve::Storage> chosen_storages(const pve::StorageConfig& config, const std::string& id) {
    if (id != "all") return {backup_storage(config, id)};
    std::vector<pve::Storage> chosen;
    for (const auto& storage : config.storages())
        if (storage.enabled && storage.holds_backups) chosen.push_back(storage);
    return chosen;
}

bool is_mounted(io::FileSystem& fs, const pve::Storage& storage) {
    if (storage.mount_point.empty()) return true;
    std::error_code error;
    const auto real = std::filesystem::canonical(storage.mount_point, error);
    if (error) return false;
    const auto table = io::MountTable::read(fs);
    const auto* mount = table.find(real.native());
    return mount != nullptr && mount->mount_point == real.native();
}

std::string not_mounted_text(const pve::Storage& storage) {
    return fmt::format("storage \"{}\" is not mounted at {}", storage.id, storage.mount_point);
}

}  // namespace vmad::ctl
