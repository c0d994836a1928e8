#include "ctl/operands/archive_inspection.hpp"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <optional>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "base/path.hpp"
#include "codec/archive_source.hpp"
#include "pve/backup_name.hpp"

namespace vmad::ctl {
namespace {

struct Mark {
    std::size_t offset;
    std::string_view bytes;
    const char* what;
};

using namespace std::string_view_literals;
constexpr std::string_view kMagic = "VMA\0"sv;
constexpr std::array kMarks{Mark{257, "ustar", "a tar archive, as vzdump makes of containers"},
                            Mark{0x8001, "CD001", "an ISO image"}, Mark{0, "QFI\xfb", "a qcow2 disk image"},
                            Mark{0, "KDMV", "a VMDK disk image"}};
/// As far as the last mark.
constexpr std::size_t kLookBytes = 0x8006;

/// What somebody else's content is, if it is known.
const char* kind_of(std::string_view content) {
    const auto* mark = std::find_if(kMarks.begin(), kMarks.end(), [&](const Mark& known) {
        return content.size() > known.offset && content.substr(known.offset).starts_with(known.bytes);
    });
    return mark == kMarks.end() ? nullptr : mark->what;
}

/// The first bytes of what is stored in the file; fewer where it is damaged or not complete yet.
std::string beginning(io::FileSystem& fs, const io::File& file) {
    std::string content(kLookBytes, '\0');
    iovec slice{content.data(), content.size()};
    try {
        auto source = codec::ArchiveSource::of_file(fs, file, io::CacheUse::peek, {});
        content.resize(source.read({&slice, 1}));
    } catch (const base::FormatError&) {
        content.clear();
    }
    return content;
}

[[noreturn]] void refuse(const std::string& path, std::string_view what) {
    throw base::UsageError(fmt::format("{} is {}", path, what));
}

[[noreturn]] void refuse_missing(const std::string& path) {
    const auto directory = std::filesystem::path(path).parent_path();
    std::error_code unknown;
    if (directory.empty() || std::filesystem::is_directory(directory, unknown))
        throw base::UsageError(fmt::format("no such file: {}", path));
    throw base::UsageError(
        fmt::format("no such file: {}; the directory {} is not there either: is its storage mounted?", path,
                    directory.native()));
}

io::File open(io::FileSystem& fs, const std::string& path) {
    try {
        // O_NONBLOCK: to open a FIFO would wait for its writer.
        return fs.open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW);
    } catch (const base::SystemError& error) {
        if (error.number() == ENOENT || error.number() == ENOTDIR) refuse_missing(path);
        if (error.number() == ELOOP) refuse(path, "a symbolic link: name the archive by its real path");
        throw;
    }
}

}  // namespace

void require_archive(io::FileSystem& fs, const std::string& path) {
    const auto file = open(fs, path);
    const auto status = fs.status(file);
    if (S_ISDIR(status.st_mode)) refuse(path, "a directory; \"vmactl scan\" finds the archives in it");
    if (!S_ISREG(status.st_mode)) refuse(path, "not a regular file");
    if (pve::is_container_backup(base::file_name(path)))
        refuse(path, "a container backup; only VM backups can be repacked");
    if (status.st_size == 0) refuse(path, "empty");
    const auto content = beginning(fs, file);
    if (content.starts_with(kMagic) || kMagic.starts_with(content)) return;
    const auto* kind = kind_of(content);
    refuse(path, kind != nullptr ? fmt::format("{}, not a VM backup", kind) : "not a VMA archive");
}

}  // namespace vmad::ctl
