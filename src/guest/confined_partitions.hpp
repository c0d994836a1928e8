// Names the partitions that places on a guest's disks lie in, by a process of its own that is confined before
// it reads the disks, and is killed when it takes too long.
//
// To be called while this process has no other thread that matters: it forks.
#pragma once

#include <chrono>
#include <span>
#include <string>
#include <vector>

#include "base/task.hpp"
#include "guest/partition_table.hpp"

namespace vmad::guest {

/// A byte of a disk.
struct DiskPlace {
    std::uint64_t disk_bytes = 0;  ///< size of the disk
    ReadAt read;                   ///< is called in the other process only
    std::uint64_t offset = 0;
};

struct ConfinedReading {
    /// What `read` reads from; the other process has no other descriptor of ours.
    std::vector<int> files{};
    /// Then no more is found.
    std::chrono::milliseconds patience = std::chrono::seconds(10);
};

/// For each place, "2 (ext4)" by number and file system or else type of its partition: short printable ASCII,
/// whatever the guest says. Empty where there is none, or it could not be found. Throws base::SystemError,
/// base::Cancelled.
[[nodiscard]] std::vector<std::string> name_partitions(std::span<const DiskPlace> places,
                                                       const ConfinedReading& reading,
                                                       const base::CancelFlag& cancel);

}  // namespace vmad::guest
