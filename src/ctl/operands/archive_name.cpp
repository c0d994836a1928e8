#include "ctl/operands/archive_name.hpp"

#include <sys/stat.h>

#include <cerrno>

#include <fmt/format.h>

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
            fmt::format("there is no file {}, and as a volume id it needs the storages of "
                        "Proxmox VE, which are not here ({})",
                        word, error.what()));
    }
}

}  // namespace

ArchiveName archive_name(io::FileSystem& fs, const std::string& word) {
    const auto volume = pve::parse_volume_id(word);
    if (!volume || names_file(word)) return {word, {}};
    return {storages_for(fs, word).path_of(*volume), volume->storage};
}

}  // namespace vmad::ctl
