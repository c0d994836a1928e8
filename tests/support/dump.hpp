// Writes a guest as a VMA archive the way QEMU does: random uuid, clusters in disorder, devices mixed.
//
// By default what Proxmox's own writer makes; the other options are what it never does but the format allows,
// so a reader must take it. Equal guests and options give equal bytes. Streams: memory is one extent, and one
// bit (shuffled: 8 bytes) per cluster.
#pragma once

#include <cstdint>
#include <functional>

#include "support/guest.hpp"

namespace vmad::testing {

struct DumpOptions {
    std::uint64_t seed = 1;            ///< of the uuid and of every random choice below
    std::uint64_t ctime = 1700000000;  ///< seconds

    // The order. As a rule disk after disk, by descending name.
    unsigned jitter = 16;            ///< copies in flight, which complete in any order; 0 or 1 for none
    double injected = 0.01;          ///< chance per cluster that a guest write brings others forward
    bool interleave = false;         ///< disks side by side
    bool ascending = false;          ///< the other way round: disks by ascending name
    bool shuffle = false;            ///< no order at all; the three above do nothing then
    unsigned slots_per_extent = 58;  ///< 1 to 59

    // What QEMU never does and the format allows.
    double slot_gaps = 0;         ///< chance that a slot is left out
    double empty_extents = 0;     ///< chance of an extent without a slot before an extent
    double stored_zeros = 0;      ///< chance that an all-zero block is stored
    bool dirty_tails = false;     ///< junk past a disk's end: in its last block, and as blocks wholly past it
    bool dirty_reserved = false;  ///< junk in reserved bytes of header, dev_info and slots
    bool blob_slack = false;      ///< blobs that nobody names, and junk before and behind the blob area
    bool scattered_slots = false;  ///< config slots with gaps, device ids in any order up to 254
};

/// Any combination of the options, most of them likely to be on.
[[nodiscard]] DumpOptions random_dump_options(std::uint64_t seed);

[[nodiscard]] Bytes dump(const Guest& guest, const DumpOptions& options = {});

/// Hands the archive out piece by piece, in order. At most 254 disks and 256 configs.
void dump_to(const std::function<void(View)>& write, const Guest& guest, const DumpOptions& options = {});

/// Writes all bytes to a file descriptor at its position; throws std::system_error.
void write_fully(int fd, View bytes);
void dump_to(int fd, const Guest& guest, const DumpOptions& options = {});

}  // namespace vmad::testing
