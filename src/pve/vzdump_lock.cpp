#include "pve/vzdump_lock.hpp"

#include <fcntl.h>
#include <sys/sysmacros.h>

#include <cerrno>
#include <charconv>
#include <sstream>
#include <string>

#include "base/path.hpp"
#include "io/durable_entry.hpp"

namespace vmad::pve {
namespace {

constexpr char kLockFile[] = "/run/vzdump.lock";
constexpr char kLockTable[] = "/proc/locks";
/// A hundred thousand locks.
constexpr std::size_t kLockTableLimitBytes = 16 << 20;

/// "fd:01:1234": major and minor in hexadecimal, the inode in decimal.
std::optional<LockedFile> parse_file(std::string_view text) {
    LockedFile file;
    const char* at = text.data();
    const char* const end = at + text.size();
    const auto take = [&](auto& number, int base, bool last) {
        const auto [rest, error] = std::from_chars(at, end, number, base);
        if (error != std::errc() || (last ? rest != end : rest == end || *rest != ':')) return false;
        at = last ? rest : rest + 1;
        return true;
    };
    if (!take(file.major, 16, false) || !take(file.minor, 16, false) || !take(file.inode, 10, true))
        return std::nullopt;
    return file;
}

}  // namespace

// NUMBER: [->] FLOCK ADVISORY READ|WRITE PID MAJOR:MINOR:INODE START END
bool has_flock(std::string_view locks, const LockedFile& file) {
    std::istringstream lines{std::string(locks)};
    for (std::string line; std::getline(lines, line);) {
        std::istringstream fields(line);
        std::string number, type, enforcement, access, pid, locked;
        fields >> number >> type;
        if (type == "->") fields >> type;
        fields >> enforcement >> access >> pid >> locked;
        if (type == "FLOCK" && parse_file(locked) == file) return true;
    }
    return false;
}

bool vzdump_runs(io::FileSystem& fs) {
    io::File lock;
    try {
        // O_PATH: there is not even an open file that could be locked.
        lock = fs.open(base::system_path(kLockFile), O_PATH);
    } catch (const base::SystemError& error) {
        if (error.number() == ENOENT) return false;
        throw;
    }
    const auto status = fs.status(lock);
    const auto locks = io::read_small_file(fs, fs.open(kLockTable, O_RDONLY), kLockTableLimitBytes);
    return has_flock(locks, {major(status.st_dev), minor(status.st_dev), status.st_ino});
}

}  // namespace vmad::pve
