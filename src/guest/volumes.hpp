// What of a guest's disks can hold files: partitions, logical volumes of LVM, and disks without either.
//
// Of LVM, volumes that lie linear or striped on the disks at hand are found; thin and cached ones, snapshots,
// mirrors and RAID are not. Any thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "guest/partition_table.hpp"

namespace vmad::guest {

struct Disk {
    std::string name;  ///< "scsi0"
    std::uint64_t bytes = 0;
    ReadAt read;
};

struct Volume {
    std::string name;  ///< "scsi0" of a disk without partitions, "scsi0/p1", "vg/root"
    std::uint64_t bytes = 0;
    std::string use;          ///< the type of a partition in words; "LVM logical volume"; empty for a disk
    std::string file_system;  ///< by libblkid; empty when unknown
    std::string label;
    std::string problem;  ///< why it cannot be read; empty for most
    ReadAt read;          ///< also when its file system is unknown
};

/// All there are, disk by disk, logical volumes last. The disks' `read` must live on. Throws what these
/// throw.
[[nodiscard]] std::vector<Volume> find_volumes(std::span<const Disk> disks);

}  // namespace vmad::guest
