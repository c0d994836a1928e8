// NTFS, by libntfs-3g. See VolumeTree.
#pragma once

#include "guest/volume_tree.hpp"

namespace vmad::guest {

[[nodiscard]] std::unique_ptr<VolumeTree> open_ntfs_tree(const Volume& volume);

}  // namespace vmad::guest
