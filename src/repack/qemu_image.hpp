// Disk images in formats other than raw, by qemu-img, which is told the format: what is in an image could
// pretend to be another.
//
// A whole raw copy is made, sparse and in a file without a name, so that nothing is left however this process
// ends. One thread.
#pragma once

#include <array>
#include <string>

#include "base/task.hpp"
#include "engine/temporary_store.hpp"

namespace vmad::repack {

/// The formats that can be named.
inline constexpr std::array kImageFormats{"raw", "qcow2", "qcow", "qed", "vmdk", "vdi", "vhdx", "vpc"};

/// The disk in the image at `path`, which is of one of kImageFormats, as a raw file in `place`. The result is
/// called by `path` in messages. Reports progress as Stage::extracting. Throws base::Error for what qemu-img
/// does not take, with its message, when it is not installed, or for an image that changes meanwhile;
/// base::SystemError when the copy does not get to its device; base::UsageError for what is no image, or has
/// a size that no disk can have; base::Cancelled.
[[nodiscard]] io::File convert_to_raw(io::FileSystem& fs, const std::string& format, const std::string& path,
                                      const engine::SpillPlace& place, const base::TaskOptions& task);

}  // namespace vmad::repack
