// Whether other machines see a file system too: then somebody there may be reading a file that is replaced
// here, and nobody here can tell.
#pragma once

#include <string_view>

#include "io/file_system.hpp"

namespace vmad::publish {

/// True for the types of mounts that several machines share: "nfs4", "cifs", "fuse.sshfs", …
[[nodiscard]] bool is_network_type(std::string_view mount_type) noexcept;

/// True when `file` lies on a mount of such a type, by whatever path it was opened. Throws base::Error when
/// the table of mounts cannot be read.
[[nodiscard]] bool is_on_network(io::FileSystem& fs, const io::File& file);

}  // namespace vmad::publish
