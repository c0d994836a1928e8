// A disk image: a raw file or a block device whose bytes are those of a guest's disk. One thread at a time.
#pragma once

#include <string>

#include "io/file_system.hpp"

namespace vmad::repack {

struct DiskImage {
    std::string name;  ///< of the device in the archive: "drive-scsi0"
    io::File file;
    std::uint64_t size_bytes = 0;
    timespec modified{};  ///< when it was opened
};

/// Throws base::UsageError for a size that no disk in an archive can have; `path` is of the image.
void check_disk_size(const std::string& path, std::uint64_t size_bytes);

/// Opens what may be an image, without waiting for anybody.
[[nodiscard]] io::File open_image(io::FileSystem& fs, const std::string& path);

/// An open file as an image. Throws base::UsageError for what is neither a regular file nor a block device,
/// and as check_disk_size() does.
[[nodiscard]] DiskImage image_of(io::FileSystem& fs, std::string name, io::File file);

/// Throws base::Error when the image has another size than when it was opened, or was written to since. Of a
/// block device only the size can be told.
void require_unchanged(io::FileSystem& fs, const DiskImage& image);

}  // namespace vmad::repack
