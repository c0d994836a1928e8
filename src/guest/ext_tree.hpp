// ext2, ext3 and ext4, by libext2fs. See VolumeTree.
#pragma once

#include "guest/volume_tree.hpp"

namespace vmad::guest {

[[nodiscard]] std::unique_ptr<VolumeTree> open_ext_tree(const Volume& volume);

}  // namespace vmad::guest
