// Which volume a path means when nobody names one.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "guest/volume_tree.hpp"

namespace vmad::guest {

/// The files of the volume of this name; of the only one, or of the only one that looks like the root of a
/// system, when the name is empty. `volumes` outlive it. Throws base::UsageError that lists what can be
/// named, and as VolumeTree::open.
[[nodiscard]] std::unique_ptr<VolumeTree> open_volume(std::span<const Volume> volumes,
                                                      const std::string& name);

}  // namespace vmad::guest
