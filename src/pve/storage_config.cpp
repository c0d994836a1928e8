#include "pve/storage_config.hpp"

#include <fcntl.h>
#include <sys/utsname.h>

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/path.hpp"
#include "io/durable_entry.hpp"
#include "pve/section_config.hpp"

// What a property means, and what holds where it is not set, is from PVE::Storage::Plugin and the plugins of
// the types.

namespace vmad::pve {
namespace {

constexpr char kConfigFile[] = "/etc/pve/storage.cfg";
/// The limit of a file in /etc/pve.
constexpr std::size_t kConfigLimitBytes = 1 << 20;
constexpr std::string_view kLocal = "local";
constexpr char kLocalPath[] = "/var/lib/vz";
constexpr char kDefaultDumpDirectory[] = "dump";

struct FileType {
    std::string_view name;
    bool mounted_by_proxmox;  ///< below /mnt/pve, unless `path` says where
    bool backups_by_default;  ///< what it holds without a `content`
};
constexpr std::array kFileTypes{
    FileType{"dir", false, false}, FileType{"btrfs", false, false}, FileType{"nfs", true, false},
    FileType{"cifs", true, false}, FileType{"cephfs", true, true},  FileType{"glusterfs", true, false},
};

const FileType* file_type(std::string_view name) {
    const auto* const found = std::find_if(kFileTypes.begin(), kFileTypes.end(),
                                           [&](const FileType& type) { return type.name == name; });
    return found == kFileTypes.end() ? nullptr : found;
}

/// Lists are parted by commas, semicolons and white space.
std::vector<std::string> split_list(std::string_view text) {
    std::vector<std::string> items;
    for (std::size_t at = 0; (at = text.find_first_not_of(",; \t", at)) != text.npos;) {
        const auto end = std::min(text.find_first_of(",; \t", at), text.size());
        items.emplace_back(text.substr(at, end - at));
        at = end;
    }
    return items;
}

bool contains(const std::vector<std::string>& items, std::string_view item) {
    return std::find(items.begin(), items.end(), item) != items.end();
}

bool is_below_storage(std::string_view directory) {
    return !directory.empty() && ("/" + std::string(directory) + "/").find("/../") == std::string::npos;
}

/// The backups' directory in a list of "CONTENT=DIRECTORY"; nothing when it has none.
std::optional<std::string> dump_subdirectory(std::string_view content_dirs) {
    constexpr std::string_view kKey = "backup=";
    for (const auto& item : split_list(content_dirs))
        if (item.starts_with(kKey)) return item.substr(kKey.size());
    return std::nullopt;
}

/// See PropertyCheck. The values of keys that nobody here asks for are not looked at.
std::string wrong_value(const Section& section, const Property& property) {
    const auto& [key, value, line] = property;
    if (file_type(section.type) == nullptr) return {};
    if (key == "path" && !value.starts_with('/')) return fmt::format("\"{}\" is not an absolute path", value);
    if (key == "disable" && !value.empty() && !parse_boolean(value))
        return fmt::format("\"{}\" is neither 1 nor 0", value);
    if ((key == "content" || key == "nodes") && value.empty()) return "it has no value";
    const auto directory = key == "content-dirs" ? dump_subdirectory(value) : std::nullopt;
    if (directory && !is_below_storage(*directory))
        return fmt::format("\"{}\" is not a path below the storage's directory", *directory);
    return {};
}

/// Reads one section of a type that holds files, with values that are not wrong.
class StorageReader {
  public:
    StorageReader(const Section& section, const FileType& type, const std::string& file)
        : section_(section), type_(type), file_(file) {}

    [[nodiscard]] Storage read(std::string_view node) const {
        Storage storage{.id = section_.id,
                        .type = section_.type,
                        .path = path(),
                        .holds_backups = type_.backups_by_default,
                        .enabled = is_enabled(node)};
        const auto* directories = section_.find("content-dirs");
        const auto directory = dump_subdirectory(directories == nullptr ? "" : directories->value);
        storage.dump_directory =
            base::normal_path(storage.path + "/" + directory.value_or(kDefaultDumpDirectory));
        storage.mount_point = mount_point(storage.path);
        if (const auto* content = section_.find("content"))
            storage.holds_backups = contains(split_list(content->value), "backup");
        return storage;
    }

  private:
    [[nodiscard]] std::string path() const {
        if (const auto* path = section_.find("path")) return base::normal_path(path->value);
        if (type_.mounted_by_proxmox) return "/mnt/pve/" + section_.id;
        if (section_.id == kLocal) return kLocalPath;
        fail(section_.line, fmt::format("the storage \"{}\" has no path", section_.id));
    }

    /// `is_mountpoint` is a boolean about `path`, or the path of the mount point.
    [[nodiscard]] std::string mount_point(const std::string& path) const {
        if (type_.mounted_by_proxmox) return path;
        const auto* property = section_.find("is_mountpoint");
        if (property == nullptr) return {};
        if (const auto is_mount_point = parse_boolean(property->value))
            return *is_mount_point ? path : std::string();
        // Proxmox takes any other text for a path where nothing is mounted.
        if (!property->value.starts_with('/'))
            fail(property->line,
                 fmt::format(
                     "the storage \"{}\" has an is_mountpoint that is neither 1, 0 nor an absolute path",
                     section_.id));
        return base::normal_path(property->value);
    }

    [[nodiscard]] bool is_enabled(std::string_view node) const {
        const auto* disable = section_.find("disable");
        if (disable != nullptr && parse_boolean(disable->value).value_or(true)) return false;
        const auto* nodes = section_.find("nodes");
        return nodes == nullptr || section_.id == kLocal || contains(split_list(nodes->value), node);
    }

    [[noreturn]] void fail(std::size_t line, const std::string& what) const {
        throw base::Error(fmt::format("{}:{}: {}", file_, line, what));
    }

    const Section& section_;
    const FileType& type_;
    const std::string& file_;
};

/// What Proxmox puts in the place of a "local" that is missing or something else.
Storage default_local() {
    const std::string path = kLocalPath;
    return {std::string(kLocal), "dir", path, path + "/" + kDefaultDumpDirectory, {}, true, true};
}

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

bool is_storage_id(std::string_view text) {
    return !text.empty() && is_letter(text[0]) && std::all_of(text.begin(), text.end(), [](char c) {
        return is_letter(c) || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
    });
}

}  // namespace

std::string node_name() {
    utsname system{};
    if (::uname(&system) != 0) base::throw_errno("uname", "this host");
    const std::string_view name = system.nodename;
    return std::string(name.substr(0, name.find('.')));
}

std::optional<VolumeId> parse_volume_id(std::string_view text) {
    constexpr std::string_view kBackup = "backup/";
    const auto colon = text.find(':');
    if (colon == text.npos || !is_storage_id(text.substr(0, colon))) return std::nullopt;
    const auto volume = text.substr(colon + 1);
    if (!volume.starts_with(kBackup)) return std::nullopt;
    return VolumeId{std::string(text.substr(0, colon)), std::string(volume.substr(kBackup.size()))};
}

std::optional<std::string_view> content_of_volume(std::string_view text) {
    static constexpr std::array<std::pair<std::string_view, std::string_view>, 4> kContents{
        {{"iso/", "an ISO image"},
         {"vztmpl/", "a container template"},
         {"snippets/", "a snippet"},
         {"import/", "an image to import"}}};
    const auto colon = text.find(':');
    if (colon == text.npos || !is_storage_id(text.substr(0, colon))) return std::nullopt;
    const auto volume = text.substr(colon + 1);
    for (const auto& [prefix, content] : kContents)
        if (volume.starts_with(prefix)) return content;
    // "local-lvm:vm-100-disk-0", "local:100/vm-100-disk-0.qcow2"
    const auto disk = volume.substr(std::min(volume.find_first_not_of("0123456789/"), volume.size()));
    const bool is_disk = disk.starts_with("vm-") || disk.starts_with("base-") || disk.starts_with("subvol-");
    return is_disk ? std::optional<std::string_view>("a disk of a guest") : std::nullopt;
}

StorageConfig StorageConfig::read(io::FileSystem& fs) {
    const auto path = base::system_path(kConfigFile);
    return parse(io::read_small_file(fs, fs.open(path, O_RDONLY), kConfigLimitBytes), path, node_name());
}

StorageConfig StorageConfig::parse(std::string_view text, const std::string& path, std::string_view node) {
    StorageConfig config;
    config.path_ = path;
    auto [sections, warnings] = parse_sections(text, path, wrong_value);
    config.warnings_ = std::move(warnings);
    for (const auto& section : sections) {
        try {
            if (!is_storage_id(section.id))
                throw base::Error(fmt::format("{}:{}: \"{}\" is not the name of a storage", path,
                                              section.line, section.id));
            if (const auto* type = file_type(section.type))
                config.storages_.push_back(StorageReader(section, *type, path).read(node));
            else
                config.other_types_.emplace(section.id, section.type);
        } catch (const base::Error& error) {
            config.skipped_.emplace(section.id, error.what());
        }
    }
    config.set_local();
    return config;
}

void StorageConfig::set_local() {
    if (skipped_.contains(kLocal)) return;
    const auto is_local = [](const Storage& storage) { return storage.id == kLocal; };
    const auto local = std::find_if(storages_.begin(), storages_.end(), is_local);
    if (local != storages_.end() && local->type == "dir" && local->path == kLocalPath) return;
    std::erase_if(storages_, is_local);
    storages_.insert(storages_.begin(), default_local());
}

std::vector<std::string> StorageConfig::warnings(std::string_view wanted) const {
    auto warnings = warnings_;
    for (const auto& [id, reason] : skipped_)
        if (id != wanted) warnings.push_back(reason + ", and is skipped");
    return warnings;
}

const Storage& StorageConfig::file_storage(std::string_view id) const {
    const auto found = std::find_if(storages_.begin(), storages_.end(),
                                    [&](const Storage& storage) { return storage.id == id; });
    if (found != storages_.end()) return *found;
    if (const auto skipped = skipped_.find(id); skipped != skipped_.end()) throw base::Error(skipped->second);
    if (const auto other = other_types_.find(id); other != other_types_.end())
        throw base::UsageError(fmt::format(
            "the storage \"{}\" is of type {}, which does not store archives as files", id, other->second));
    throw base::UsageError(fmt::format("no storage \"{}\" in {}", id, path_));
}

std::string StorageConfig::path_of(const VolumeId& volume) const {
    const auto& storage = file_storage(volume.storage);
    if (volume.name.empty() || volume.name == "." || volume.name == ".." ||
        volume.name.find('/') != volume.name.npos)
        throw base::UsageError(fmt::format("\"{}:backup/{}\" is not a backup: \"{}\" is not a file name",
                                           volume.storage, volume.name, volume.name));
    return (storage.dump_directory == "/" ? "" : storage.dump_directory) + "/" + volume.name;
}

}  // namespace vmad::pve
