#include "io/durable_link.hpp"

#include <optional>

#include <fmt/format.h>

#include "base/error.hpp"
#include "io/temporary_name.hpp"

namespace vmad::io {
namespace {

/// Up to the new name, but not yet the directory's own sync.
void replace_link(FileSystem& fs, const File& directory, const std::string& name, const std::string& target) {
    const auto temporary = fmt::format(".{}.tmp", random_hex());
    fs.make_link(target, directory, temporary);
    try {
        fs.rename(directory, temporary, name);
    } catch (...) {
        try {
            fs.unlink(directory, temporary);
        } catch (const base::Error&) {
            // The first failure is the one to report.
        }
        throw;
    }
}

/// Syncs the directory; when that fails, puts back what the caller then still believes to be there.
void sync_or_put_link_back(FileSystem& fs, const File& directory, const std::string& name,
                           const std::optional<std::string>& old) {
    try {
        fs.sync(directory);
    } catch (...) {
        try {
            if (old)
                replace_link(fs, directory, name, *old);
            else
                fs.unlink(directory, name);
            fs.sync(directory);
        } catch (const base::Error&) {
            // The first failure is the one to report.
        }
        throw;
    }
}

}  // namespace

void write_link_durably(FileSystem& fs, const File& directory, const std::string& name,
                        const std::string& target) {
    const auto old = fs.read_link(directory, name);
    if (!old && fs.status_at(directory, name))
        throw base::Error(fmt::format("{} is not a symbolic link", directory.entry(name)));
    replace_link(fs, directory, name, target);
    sync_or_put_link_back(fs, directory, name, old);
}

bool remove_link_durably(FileSystem& fs, const File& directory, const std::string& name) {
    const auto old = fs.read_link(directory, name);
    if (!old) return false;
    fs.unlink(directory, name);
    sync_or_put_link_back(fs, directory, name, old);
    return true;
}

}  // namespace vmad::io
