#include "repack/new_archive.hpp"

#include <fcntl.h>

#include <filesystem>

#include <fmt/format.h>

#include "io/free_space.hpp"
#include "io/new_file.hpp"

namespace vmad::repack {
namespace {

constexpr mode_t kPermissionBits = 0777;

io::File open_source(io::FileSystem& fs, const std::string& path) {
    // O_NONBLOCK: opening a pipe that nobody writes to must not hang.
    auto file = fs.open(path, O_RDONLY | O_NONBLOCK);
    if (!S_ISREG(fs.status(file).st_mode)) throw base::UsageError(path + " is not a regular file");
    return file;
}

void check_destination(io::FileSystem& fs, const io::File& directory, const std::string& name,
                       const struct stat& source, bool force) {
    const auto existing = fs.status_at(directory, name);
    if (!existing) return;
    const auto path = directory.entry(name);
    if (existing->st_dev == source.st_dev && existing->st_ino == source.st_ino)
        throw base::UsageError(path +
                               " is the source itself; --in-place repacks an archive under its own name");
    if (!S_ISREG(existing->st_mode)) throw base::UsageError(path + " exists and is not a regular file");
    if (!force) throw base::UsageError(path + " exists; --force replaces it");
}

}  // namespace

RepackResult repack_to_file(io::FileSystem& fs, const std::string& source, const std::string& destination,
                            const NewArchiveOptions& options) {
    const std::filesystem::path path(destination);
    const auto from = open_source(fs, source);
    const auto parent = path.parent_path();
    const auto directory = fs.open(parent.empty() ? "." : parent.string(), O_RDONLY | O_DIRECTORY);
    const auto name = path.filename().string();
    if (name.empty() || name == "." || name == "..")
        throw base::UsageError(destination + " does not name a file");
    const auto status = fs.status(from);
    check_destination(fs, directory, name, status, options.force);

    io::NewFile copy(fs, directory, name);
    auto repack_options = options.repack;
    const auto reserve = io::default_reserve(fs, directory);
    repack_options.before_write = [&](std::uint64_t bytes) {
        io::require_space(fs, directory, bytes, reserve);
    };
    const auto result = repack(fs, from, copy.file(), repack_options);
    // As a copy gets it: the source's permissions, as far as the umask lets through.
    const auto mask = ::umask(0);
    ::umask(mask);
    fs.change_mode(copy.file(), status.st_mode & kPermissionBits & ~mask);
    fs.sync(copy.file());
    if (options.proof) prove(fs, copy.file(), result.fingerprint, options.repack.task);
    if (options.force) {
        copy.replace();
    } else {
        copy.publish();
        copy.keep();
    }
    fs.sync(directory);
    return result;
}

}  // namespace vmad::repack
