// Device ids that depend on the names alone, so that adding a disk does not renumber the others.
//
// Part of canonical layout version 1; changing it costs every user a full copy. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace vmad::canon {

/// The id of each name. `names` are unique and at most 254. The disks that Proxmox knows have fixed ids: ide,
/// scsi, virtio, sata, efidisk and both spellings of tpmstate, 1 to 60; any other name gets one from 61 on by
/// its FNV-1a hash, the next free one where that is taken.
[[nodiscard]] std::map<std::string, std::uint8_t> stable_ids(std::vector<std::string> names);

}  // namespace vmad::canon
