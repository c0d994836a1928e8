#include "publish/archive_target.hpp"

#include <fcntl.h>
#include <linux/fs.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <string_view>

#include <fmt/format.h>

#include "base/path.hpp"
#include "io/temporary_name.hpp"

namespace vmad::publish {
namespace {

using Components = std::vector<std::string>;

constexpr int kOpenDirectory = O_RDONLY | O_DIRECTORY;
// O_NONBLOCK: to open a FIFO would wait for its writer, and for ever.
constexpr int kOpenArchive = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW;

std::string join(Components::const_iterator from, Components::const_iterator to) {
    return fmt::format("{}", fmt::join(from, to, "/"));
}

/// The components of a path that names a file in a plain way.
Components check_path(const std::string& path) {
    if (path.find('\0') != std::string::npos)
        throw base::Error(fmt::format("the path {} has a NUL byte in it", path.c_str()));
    if (!path.starts_with('/'))
        throw base::Error(fmt::format("{} is not an absolute path: name the archive from the root on", path));
    if (base::has_component(path, ".."))
        throw base::Error(fmt::format("{} has \"..\" in it: name the archive by its real path", path));
    auto components = base::path_components(path);
    if (components.empty() || path.ends_with('/') || path.ends_with("/."))
        throw base::Error(fmt::format("{} names a directory: name the archive in it", path));
    if (io::is_reserved_name(components.back()))
        throw base::Error(fmt::format("{} is a temporary file of vmad, not an archive", path));
    return components;
}

/// How many components of the path are those of the longest of `directories` that it lies below; nothing when
/// it lies below none.
std::optional<std::size_t> allowed_length(const std::string& path,
                                          const std::vector<std::string>& directories) {
    std::optional<std::size_t> longest;
    for (const auto& directory : directories)
        if (base::is_below(path, directory))
            longest = std::max(longest.value_or(0), base::path_components(directory).size());
    return longest;
}

/// Calls `open`, which opens the directory `path` or one on the way to it.
template <typename Open>
io::File open_directory(const std::string& path, Open open) {
    try {
        return open();
    } catch (const base::SystemError& error) {
        if (error.number() == ENOENT)
            throw StorageMissing(fmt::format("the directory {} is not there: is its storage mounted?", path));
        if (error.number() == ELOOP)
            throw base::Error(
                fmt::format("a symbolic link is on the way to {}: name the archive by its real path", path));
        throw;
    }
}

/// Nothing when there is no such entry.
std::optional<io::File> open_archive(io::FileSystem& fs, const ArchiveEntry& entry) {
    try {
        return fs.open_beneath(entry.directory, entry.name, kOpenArchive);
    } catch (const base::SystemError& error) {
        const auto path = entry.directory.entry(entry.name);
        if (error.number() == ENOENT) return std::nullopt;
        if (error.number() == ELOOP)
            throw base::Error(fmt::format("{} is a symbolic link: name the archive by its real path", path));
        if (error.number() == ENXIO) throw base::Error(fmt::format("{} is not a regular file", path));
        throw;
    }
}

/// What the inode flags say against a replacement; nothing when it may be.
std::optional<std::string> flags_fault(io::FileSystem& fs, const io::File& file) {
    const auto flags = fs.inode_flags(file);
    if (flags & FS_IMMUTABLE_FL)
        return fmt::format("{} is immutable: \"chattr -i\" would allow to replace the archive", file.path());
    if (flags & FS_APPEND_FL)
        return fmt::format("{} is append-only: \"chattr -a\" would allow to replace the archive",
                           file.path());
    return std::nullopt;
}

void check_replaceable(io::FileSystem& fs, const ArchiveEntry& entry, const io::File& file,
                       const struct stat& status) {
    const auto identity = identity_of(status);
    if (!S_ISREG(status.st_mode))
        throw Irreplaceable(identity, fmt::format("{} is not a regular file", file.path()));
    if (status.st_nlink > 1)
        throw Irreplaceable(
            identity, fmt::format("{} has {} hard links, and the others would keep the old content: remove "
                                  "them, or replace the archive by a copy",
                                  file.path(), status.st_nlink));
    if (const auto fault = flags_fault(fs, file)) throw Irreplaceable(identity, *fault);
    if (const auto fault = flags_fault(fs, entry.directory)) throw base::Error(*fault);
}

}  // namespace

ArchiveEntry open_entry(io::FileSystem& fs, const std::string& path,
                        const std::vector<std::string>& directories) {
    const auto components = check_path(path);
    const auto parent_end = components.end() - 1;
    const auto parent_path = "/" + join(components.begin(), parent_end);
    if (directories.empty())
        return {open_directory(parent_path, [&] { return fs.open(parent_path, kOpenDirectory); }),
                components.back()};

    const auto length = allowed_length(path, directories);
    if (!length)
        throw base::Error(
            fmt::format("{} is not below a configured directory ({}): add its directory to "
                        "`directories`, or name the archive by its path below one of them",
                        path, fmt::join(directories, ", ")));
    const auto allowed_end = components.begin() + static_cast<std::ptrdiff_t>(*length);
    const auto allowed = "/" + join(components.begin(), allowed_end);
    auto directory = open_directory(allowed, [&] { return fs.open(allowed, kOpenDirectory); });
    if (allowed_end != parent_end) {
        const auto below = join(allowed_end, parent_end);
        directory =
            open_directory(parent_path, [&] { return fs.open_beneath(directory, below, kOpenDirectory); });
    }
    return {std::move(directory), components.back()};
}

OpenedTarget open_target(io::FileSystem& fs, ArchiveEntry entry, bool announced, std::int64_t now_seconds) {
    auto file = open_archive(fs, entry);
    if (!file) return Vanished{};
    const auto status = fs.status(*file);
    check_replaceable(fs, entry, *file, status);
    // A time far in the future means a wrong clock, not of a writer; it must not keep the job waiting.
    const auto age = now_seconds - static_cast<std::int64_t>(status.st_mtim.tv_sec);
    if (!announced && age < kMinimumAgeSeconds && age > -kMinimumAgeSeconds)
        return TooYoung{kMinimumAgeSeconds - age};
    return ArchiveTarget{std::move(entry.directory), std::move(entry.name), std::move(*file),
                         identity_of(status)};
}

}  // namespace vmad::publish
