// What a guest's disk is divided into, and which file systems are on it.
//
// libblkid finds both, in a sparse file in memory that holds only the sectors it looks at; of a whole disk it
// takes some megabytes to read. Tables may be made to do harm: what does not lie on the disk is left out, and
// a disk has kMaxPartitions at most. Any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace vmad::guest {

/// Reads [offset, offset + into.size()) of a disk, which lies within it. What it throws is passed on.
using ReadAt = std::function<void(std::uint64_t offset, std::span<std::byte> into)>;

/// As many as Linux has of a disk.
inline constexpr std::size_t kMaxPartitions = 256;

/// A part of a disk, wholly on it. Strings come from the guest: UTF-8 at best.
struct Partition {
    unsigned number = 0;  ///< as Linux counts them: the first logical one of an MBR is 5
    std::uint64_t offset = 0;
    std::uint64_t bytes = 0;
    std::string type;         ///< in words: "Linux filesystem", "EFI System"
    std::string name;         ///< of a GPT
    std::string file_system;  ///< as blkid(8) calls it: "ext4", "LVM2_member"; empty when unknown
    std::string label;        ///< of the file system
};

/// What there is on a disk.
struct PartitionTable {
    std::string type;                   ///< "gpt", "dos" or another of libblkid's; empty: there is none
    std::vector<Partition> partitions;  ///< without extended ones, ascending by number
    std::string file_system;            ///< of a disk without a table, as of a partition
    std::string label;
};

/// Throws what `read` throws, and base::SystemError.
[[nodiscard]] PartitionTable read_partition_table(const ReadAt& read, std::uint64_t disk_bytes);

/// The partition that a byte of the disk lies in, with its file system; nothing where there is none. Of the
/// others only where they are is read. Throws as read_partition_table.
[[nodiscard]] std::optional<Partition> find_partition(const ReadAt& read, std::uint64_t disk_bytes,
                                                      std::uint64_t offset);

/// What fills a partition, a logical volume or a disk without partitions.
struct FileSystem {
    std::string type;  ///< empty: unknown, or more than one
    std::string label;
};

/// Throws as read_partition_table.
[[nodiscard]] FileSystem find_file_system(const ReadAt& read, std::uint64_t bytes);

}  // namespace vmad::guest
