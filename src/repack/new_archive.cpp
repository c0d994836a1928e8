#include "repack/new_archive.hpp"

#include <fcntl.h>

#include <filesystem>

#include <fmt/format.h>

#include "engine/ordered_writer.hpp"
#include "io/new_file.hpp"
#include "io/storage.hpp"
#include "repack/config_exchange.hpp"

namespace vmad::repack {
namespace {

constexpr mode_t kPermissionBits = 0777;
/// Of what came through a pipe: it holds a guest's disks.
constexpr mode_t kPrivate = 0600;

/// Where a new archive goes.
struct Destination {
    io::File directory;
    std::string name;
};

Destination open_destination(io::FileSystem& fs, const std::string& destination) {
    const std::filesystem::path path(destination);
    const auto parent = path.parent_path();
    auto directory = fs.open(parent.empty() ? "." : parent.string(), O_RDONLY | O_DIRECTORY);
    auto name = path.filename().string();
    if (name.empty() || name == "." || name == "..")
        throw base::UsageError(destination + " does not name a file");
    return {std::move(directory), std::move(name)};
}

void check_destination(io::FileSystem& fs, const Destination& destination,
                       const std::optional<struct stat>& source, const NewArchiveOptions& options) {
    const auto& [directory, name] = destination;
    const auto existing = fs.status_at(directory, name);
    if (!existing) return;
    const auto path = directory.entry(name);
    if (source && existing->st_dev == source->st_dev && existing->st_ino == source->st_ino)
        throw base::UsageError(path + " is the source itself; " + options.in_place_hint);
    if (!S_ISREG(existing->st_mode)) throw base::UsageError(path + " exists and is not a regular file");
    if (!options.force) throw base::UsageError(path + " exists; --force replaces it");
}

}  // namespace

void check_new_archive(io::FileSystem& fs, const std::string& destination, const NewArchiveOptions& options) {
    check_destination(fs, open_destination(fs, destination), std::nullopt, options);
}

engine::RepackResult repack_to_file(io::FileSystem& fs, codec::ArchiveSource& source,
                                    const io::File* source_file, const std::string& destination,
                                    const NewArchiveOptions& options) {
    const auto place = open_destination(fs, destination);
    const auto& [directory, name] = place;
    const auto format = codec::format_of_name(name).value_or(source.format());
    std::optional<struct stat> status;
    if (source_file != nullptr) status = fs.status(*source_file);
    check_destination(fs, place, status, options);

    io::NewFile copy(fs, directory, name);
    const auto reserve = io::default_reserve(fs, directory);
    auto repack_options = options.repack;
    repack_options.format = format;
    std::optional<verify::CopyVerification> verification;
    if (options.verify)
        verification.emplace(fs, copy.file(), repack_options.format, options.repack.task,
                             verify::fitting_read_back(fs, copy.file()));
    engine::OrderedWriter writer(
        fs, copy.file(),
        {.require_space =
             [&](std::uint64_t bytes) { io::require_space(fs, place.directory, bytes, reserve); },
         .on_device =
             [&](std::uint64_t bytes) {
                 if (verification) verification->written(bytes);
             }});
    repack_options.spill.beside = &directory;
    std::optional<engine::RepackResult> exchanged;
    if (source_file != nullptr && format == source.format())
        exchanged = exchange_configs(fs, *source_file, format, writer, repack_options);
    auto result = exchanged ? *std::move(exchanged) : engine::repack(fs, source, writer, repack_options);
    // As a copy gets it: the source's permissions, as far as the umask lets through.
    const auto mask = ::umask(0);
    ::umask(mask);
    fs.change_mode(copy.file(), (status ? status->st_mode & kPermissionBits : kPrivate) & ~mask);
    fs.sync(copy.file());
    if (verification) verification->finish(result.fingerprint);
    if (options.force) {
        copy.replace();
    } else {
        copy.publish();
        copy.keep();
    }
    io::sync_where_known(fs, directory);
    return result;
}

}  // namespace vmad::repack
