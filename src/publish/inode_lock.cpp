#include "publish/inode_lock.hpp"

#include <fcntl.h>

#include <fmt/format.h>

#include "base/error.hpp"

namespace vmad::publish {
namespace {

/// More than others can be in the way.
constexpr int kMostTries = 1000;

}  // namespace

std::optional<InodeLock> InodeLock::take(io::FileSystem& fs, const std::string& directory,
                                         const FileIdentity& file) {
    (void)fs.make_directory(directory, 0700);
    auto locks = fs.open(directory, O_RDONLY | O_DIRECTORY);
    const auto name = fmt::format("{:x}-{}", file.device, file.mark.inode);
    for (int tries = 0; tries < kMostTries; ++tries) {
        auto lock = fs.open_at(locks, name, O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
        if (!fs.try_lock(lock)) return std::nullopt;
        // Between our open and our lock the last holder may have removed the file: then the next one makes
        // a new file by this name, and both would think that they hold the lock.
        const auto named = fs.status_at(locks, name);
        if (named && named->st_ino == fs.status(lock).st_ino)
            return InodeLock(fs, std::move(locks), name, std::move(lock));
    }
    throw base::Error(
        fmt::format("cannot lock {}: it is gone, or another file, each time", locks.entry(name)));
}

InodeLock::~InodeLock() {
    if (!file_) return;
    try {
        // While it is still locked, so that nobody else's file is removed.
        fs_.unlink(directory_, name_);
    } catch (...) {
        // An empty lock file that stays does no harm.
    }
}

}  // namespace vmad::publish
