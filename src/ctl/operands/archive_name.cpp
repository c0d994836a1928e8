#include "ctl/operands/archive_name.hpp"

#include <sys/stat.h>

#include <cerrno>
#include <cstdlib>
#include <memory>
#include <string_view>

#include <fmt/format.h>

#include "base/path.hpp"
#include "pve/storage_config.hpp"

namespace vmad::ctl {
namespace {

bool names_file(const std::string& path) {
    struct stat status {};
    return ::lstat(path.c_str(), &status) == 0;
}

pve::StorageConfig storages_for(io::FileSystem& fs, const std::string& word) {
    try {
        return pve::StorageConfig::read(fs);
    } catch (const base::SystemError& error) {
        if (error.number() != ENOENT) throw;
        throw base::Error(
            fmt::format("no such file: {}; it cannot be a volume ID either, because there is no Proxmox VE "
                        "storage configuration ({})",
                        word, error.what()));
    }
}

std::string real_path(const std::string& path) {
    const std::unique_ptr<char, decltype(&std::free)> resolved(::realpath(path.c_str(), nullptr), &std::free);
    if (!resolved) base::throw_errno("resolve", path);
    return resolved.get();
}

/// Where the part of `path` ends that has every ".." in it; 0 when there is none.
std::size_t end_of_parents(std::string_view path) {
    std::size_t end = 0;
    for (std::size_t at = 0; at < path.size();) {
        const auto slash = std::min(path.find('/', at), path.size());
        if (path.substr(at, slash - at) == "..") end = slash;
        at = slash + 1;
    }
    return end;
}

}  // namespace

ArchiveName archive_name(io::FileSystem& fs, Console& console, const std::string& word) {
    const auto volume = pve::parse_volume_id(word);
    if (names_file(word)) return {word, {}};
    if (!volume) {
        if (const auto content = pve::content_of_volume(word))
            throw base::UsageError(fmt::format(
                "\"{}\" is {}, not a backup: a backup's volume ID is STORAGE:backup/NAME", word, *content));
        return {word, {}};
    }
    const auto config = storages_for(fs, word);
    for (const auto& warning : config.warnings(volume->storage)) console.message_once(warning);
    return {config.path_of(*volume), volume->storage};
}

std::string absolute_path(const std::string& path) {
    if (path.empty()) throw base::UsageError("empty path");
    const auto parents = end_of_parents(path);
    std::string result;
    if (parents != 0)
        result = real_path(path.substr(0, parents));
    else if (!path.starts_with('/'))
        result = real_path(".");
    return base::normal_path(result + "/" + path.substr(parents));
}

}  // namespace vmad::ctl
