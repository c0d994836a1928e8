// The disks of an archive by the names that people give them. Pure; any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "vma/format.hpp"

namespace vmad::access {

/// "scsi0" for "drive-scsi0", as the guest's config calls it; other names as they are. Points into `device`.
[[nodiscard]] std::string_view short_name(std::string_view device) noexcept;

/// The devices with these names, in the order of the header. "scsi0", as the config of a guest calls it, is
/// "drive-scsi0", as QEMU does. Throws base::UsageError for a name that the archive does not have.
[[nodiscard]] std::vector<vma::Device> chosen_devices(const vma::Header& header,
                                                      const std::vector<std::string>& names);

/// The one device with this name; with an empty name, the only one that there is. Throws base::UsageError.
[[nodiscard]] const vma::Device& chosen_device(const vma::Header& header, const std::string& name);

}  // namespace vmad::access
