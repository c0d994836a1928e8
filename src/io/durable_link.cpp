#include "io/durable_link.hpp"

#include <optional>

#include <fmt/format.h>

#include "base/error.hpp"
#include "io/durable_entry.hpp"

namespace vmad::io {
namespace {

void replace(FileSystem& fs, const File& directory, const std::string& name, const std::string& target) {
    replace_entry(fs, directory, name,
                  [&](const std::string& temporary) { fs.make_link(target, directory, temporary); });
}

void sync(FileSystem& fs, const File& directory, const std::string& name,
          const std::optional<std::string>& old) {
    sync_or_put_back(fs, directory, [&] {
        if (old)
            replace(fs, directory, name, *old);
        else
            fs.unlink(directory, name);
    });
}

}  // namespace

void write_link_durably(FileSystem& fs, const File& directory, const std::string& name,
                        const std::string& target) {
    const auto old = fs.read_link(directory, name);
    if (!old && fs.status_at(directory, name))
        throw base::Error(fmt::format("{} is not a symbolic link", directory.entry(name)));
    replace(fs, directory, name, target);
    sync(fs, directory, name, old);
}

bool remove_link_durably(FileSystem& fs, const File& directory, const std::string& name) {
    const auto old = fs.read_link(directory, name);
    if (!old) return false;
    fs.unlink(directory, name);
    sync(fs, directory, name, old);
    return true;
}

}  // namespace vmad::io
