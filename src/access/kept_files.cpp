#include "access/kept_files.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "io/temporary_name.hpp"

namespace vmad::access {
namespace {

constexpr mode_t kPrivate = 0700;
/// After so long nobody writes a file any more.
constexpr std::int64_t kStaleSeconds = std::int64_t{24} * 3600;

/// True for what nobody else can have written.
bool is_ours(const struct stat& status) {
    return status.st_uid == ::geteuid() && (status.st_mode & 022) == 0;
}

std::optional<io::File> open_directory(io::FileSystem& fs, const std::string& path) try {
    auto directory = fs.open(path, O_RDONLY | O_DIRECTORY);
    if (!is_ours(fs.status(directory))) return std::nullopt;
    return directory;
} catch (const base::SystemError&) {
    return std::nullopt;
}

struct Kept {
    std::pair<std::int64_t, std::int64_t> used;  ///< seconds and nanoseconds
    std::uint64_t bytes;
    std::string name;
};

}  // namespace

io::File make_kept_directory(io::FileSystem& fs, const std::string& path) {
    try {
        fs.make_directory(path, kPrivate);
    } catch (const base::SystemError& error) {
        if (error.number() != ENOENT) throw;
        fs.make_directory(path.substr(0, path.rfind('/')), kPrivate);
        fs.make_directory(path, kPrivate);
    }
    auto directory = open_directory(fs, path);
    if (!directory) throw base::Error(path + " can be written by others");
    return std::move(*directory);
}

std::optional<io::File> open_kept_file(io::FileSystem& fs, const std::string& directory,
                                       const std::string& name) try {
    const auto parent = open_directory(fs, directory);
    if (!parent) return std::nullopt;
    auto file = fs.open_at(*parent, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    const auto status = fs.status(file);
    if (!S_ISREG(status.st_mode) || !is_ours(status)) return std::nullopt;
    fs.set_modified(file, {.tv_sec = std::time(nullptr), .tv_nsec = 0});
    return file;
} catch (const base::SystemError& error) {
    if (error.number() != ENOENT) throw;
    return std::nullopt;
}

void remove_oldest(io::FileSystem& fs, const io::File& directory,
                   const std::function<bool(const std::string& name)>& is_kept, const KeptLimits& limits) {
    std::vector<Kept> files;
    const auto now = std::time(nullptr);
    for (const auto& name : fs.entries(directory)) {
        const auto status = fs.status_at(directory, name);
        if (!status) continue;
        if (is_kept(name))
            files.push_back({{status->st_mtim.tv_sec, status->st_mtim.tv_nsec},
                             static_cast<std::uint64_t>(status->st_size),
                             name});
        else if (io::is_reserved_name(name) && status->st_mtim.tv_sec + kStaleSeconds < now)
            fs.unlink(directory, name);
    }
    std::sort(files.begin(), files.end(), [](const Kept& a, const Kept& b) { return a.used > b.used; });
    std::uint64_t bytes = 0;
    for (std::size_t i = 0; i < files.size(); ++i) {
        bytes += files[i].bytes;
        const bool is_too_much = i >= limits.max_files || bytes > limits.max_bytes;
        if (is_too_much && (i > 0 || !limits.keeps_newest)) fs.unlink(directory, files[i].name);
    }
}

}  // namespace vmad::access
