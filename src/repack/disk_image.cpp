#include "repack/disk_image.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <fmt/format.h>

#include "base/units.hpp"
#include "vma/format.hpp"

namespace vmad::repack {
void check_disk_size(const std::string& path, std::uint64_t size_bytes) {
    if (size_bytes == 0) throw base::UsageError(fmt::format("{} is empty: no disk has 0 bytes", path));
    if (size_bytes % vma::kSectorSize != 0)
        throw base::UsageError(fmt::format(
            "{} has {} bytes, which is not a multiple of {}: \"truncate -s %{} FILE\" pads it with zeros",
            path, size_bytes, vma::kSectorSize, vma::kSectorSize));
    if (size_bytes > vma::kMaxDeviceSize)
        throw base::UsageError(fmt::format("{} has {} bytes: no disk in an archive is larger than {}", path,
                                           size_bytes, base::format_size(vma::kMaxDeviceSize)));
}

io::File open_image(io::FileSystem& fs, const std::string& path) {
    // O_NONBLOCK: to open a FIFO would wait for its writer.
    return fs.open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
}

DiskImage image_of(io::FileSystem& fs, std::string name, io::File file) {
    const auto status = fs.status(file);
    if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode))
        throw base::UsageError(file.path() + " is neither a regular file nor a block device");
    const auto size = fs.seek(file, 0, SEEK_END).value_or(0);
    check_disk_size(file.path(), size);
    return {std::move(name), std::move(file), size, status.st_mtim};
}

void require_unchanged(io::FileSystem& fs, const DiskImage& image) {
    const auto size = fs.seek(image.file, 0, SEEK_END).value_or(0);
    if (size != image.size_bytes)
        throw base::Error(fmt::format("the size of {} changed from {} to {} while it was read",
                                      image.file.path(), image.size_bytes, size));
    const auto status = fs.status(image.file);
    const auto& now = status.st_mtim;
    if (S_ISREG(status.st_mode) &&
        (now.tv_sec != image.modified.tv_sec || now.tv_nsec != image.modified.tv_nsec))
        throw base::Error(image.file.path() +
                          " was written to while it was read: stop the guest, or use a snapshot of its disk");
}

}  // namespace vmad::repack
