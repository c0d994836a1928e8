// A made-up virtual machine: configuration files and disks, of which dump.hpp writes archives.
//
// Disk content is a function of (seed, block number), computed block by block, so a disk of many GiB needs no
// memory. A law changes a guest through its plain fields: grow a disk by adding to size_bytes, add one to
// `disks`, lengthen a config's data. Nothing checks a guest: one that breaks the rules makes a bad archive.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "support/vma_fields.hpp"

namespace vmad::testing {

/// What a disk holds. Of the blocks that are not zero about half are random bytes, half repeat eight bytes
/// and so compress well, and a few have a single byte that is not zero, often the first or the last.
struct Content {
    std::uint64_t seed = 1;
    double zero_fraction = 0.3;    ///< share of runs that are all zero
    std::uint64_t run_blocks = 8;  ///< blocks in a run, at least 1
    /// Block -> the seed of its bytes; 0 for zeros.
    std::unordered_map<std::uint64_t, std::uint64_t> changed{};
    /// Block -> its first bytes; the rest are zero. Goes before `changed`.
    std::map<std::uint64_t, Bytes> patches{};
    /// When it is one: a borrowed descriptor of a file that holds the disk, and all else does not matter.
    int image = -1;
};

struct Disk {
    std::string name;
    std::uint64_t size_bytes = 0;
    Content content{};

    /// Writes block `index` to `into` (4096 bytes). What lies past the end of the disk is zero.
    void read_block(std::uint64_t index, std::byte* into) const;

    /// Told without making the blocks of this cluster: true says that all are zero, false says nothing.
    [[nodiscard]] bool surely_empty(std::uint64_t cluster) const;
};

struct Config {
    std::string name;
    Bytes data{};
};

struct Guest {
    std::vector<Config> configs{};
    std::vector<Disk> disks{};
};

[[nodiscard]] Bytes to_bytes(std::string_view text);

/// Gives `count` blocks (at most; some may be drawn twice) of any disk new content, some of them zeros.
void change_blocks(Guest& guest, std::uint64_t count, std::uint64_t seed);

/// A small valid guest that is hard to handle: odd sizes, odd and colliding names, empty and long configs, no
/// disks at all, all-zero disks; at most some 12 MiB of disk. Equal seeds give equal guests.
[[nodiscard]] Guest random_guest(std::uint64_t seed);

/// 254 disks of some blocks, 250 of them with names that Proxmox does not use: every device id is taken.
[[nodiscard]] Guest crowded_guest(std::uint64_t seed);

/// A guest as Proxmox makes them: these disks, and a qemu-server.conf that names them.
[[nodiscard]] Guest plausible_guest(std::vector<Disk> disks);

}  // namespace vmad::testing
