#include "support/guest.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <set>
#include <span>
#include <string_view>
#include <system_error>

#include "support/random.hpp"

namespace vmad::testing {

namespace {

void fill_block(std::uint64_t seed, std::byte* into) {
    const std::uint64_t kind = seed % 16;
    if (kind == 15) {
        std::memset(into, 0, kBlockBytes);
        const std::uint64_t where[] = {0, kBlockBytes - 1, mix(seed) % kBlockBytes};
        into[where[seed / 16 % std::size(where)]] = static_cast<std::byte>(1 + seed / 64 % 255);
        return;
    }
    for (std::uint64_t at = 0; at < kBlockBytes; at += sizeof seed) {
        const std::uint64_t word = kind < 7 ? mix(seed + at) : seed;
        std::memcpy(into + at, &word, sizeof word);
    }
}

// Names that Proxmox uses, in their most awkward sort orders, and names that it does not.
constexpr std::string_view kNames[] = {
    "drive-scsi0", "drive-scsi2", "drive-scsi10", "drive-scsi30", "drive-ide0", "drive-ide3", "drive-virtio0",
    "drive-virtio15", "drive-sata0", "drive-sata5", "drive-efidisk0", "drive-tpmstate0",
    "drive-tpmstate0-backup",
    // Beside the known ones: out of range, almost the same, not ASCII.
    "drive-scsi31", "drive-scsi01", "drive-ide4", "drive-efidisk1", "drive-tpmstate0-backup2", "scsi0", "a",
    "~", "drive-\xc3\xa4", "DRIVE-SCSI0",
    // FNV-1a-32 mod 194 is 131 for all of these, and the hash of the last one is 2^32 - 1: a sum in 32 bits
    // overflows.
    "drive-usb104", "drive-usb230", "drive-usb416", "drive-x22393855n",
    // 193, the last place: the second one goes round to the first.
    "drive-nvme89", "drive-nvme225", "drive-nvme245"};

// Around blocks, clusters, the writer's extents of 58 slots and the canonical ones of 59.
constexpr std::uint64_t kSizes[] = {512,
                                    1024,
                                    3584,
                                    4096,
                                    4608,
                                    61440,
                                    65024,
                                    65536,
                                    66048,
                                    131072,
                                    540672,
                                    57 * kClusterBytes + 512,
                                    58 * kClusterBytes,
                                    58 * kClusterBytes + 61440,
                                    59 * kClusterBytes - 512,
                                    59 * kClusterBytes,
                                    59 * kClusterBytes + 512,
                                    118 * kClusterBytes - 4608};

constexpr std::size_t kConfigSizes[] = {0, 1, 303, 511, 512, 4096, 60000, 65535};

Disk random_disk(Random& random, std::string name) {
    Disk disk;
    disk.name = std::move(name);
    disk.size_bytes =
        random.chance(0.6) ? kSizes[random.below(std::size(kSizes))] : 512 + 512 * random.below(5000);
    if (disk.name == "drive-efidisk0") disk.size_bytes = 540672;
    const double zero_fractions[] = {0, 0.3, 0.9, 1};
    disk.content.seed = random.next();
    disk.content.zero_fraction = zero_fractions[random.below(std::size(zero_fractions))];
    disk.content.run_blocks = 1 + random.below(40);
    return disk;
}

std::vector<Config> random_configs(Random& random) {
    std::vector<Config> configs;
    const std::string names[] = {"qemu-server.conf", "qemu-server.fw", "x", std::string(300, 'n')};
    for (const auto& name : names) {
        if (random.chance(0.4)) continue;
        Bytes data(kConfigSizes[random.below(std::size(kConfigSizes))]);
        random.fill(data);
        configs.push_back({name, std::move(data)});
    }
    return configs;
}

}  // namespace

void Disk::read_block(std::uint64_t index, std::byte* into) const {
    const std::uint64_t start = index * kBlockBytes;
    const std::uint64_t run = index / content.run_blocks;
    // Compared as integers of 32 bits, which a double holds exactly.
    const bool zero_run =
        static_cast<double>(mix(content.seed ^ mix(~run)) >> 32U) < content.zero_fraction * 0x1p32;
    const auto changed = content.changed.find(index);
    const auto patch = content.patches.find(index);
    if (content.image >= 0) {
        const auto got = ::pread(content.image, into, kBlockBytes, static_cast<off_t>(start));
        if (got < 0) throw std::system_error(errno, std::generic_category(), "read of a disk image");
        std::memset(into + got, 0, kBlockBytes - static_cast<std::size_t>(got));
    } else if (patch != content.patches.end()) {
        std::memset(into, 0, kBlockBytes);
        std::copy_n(patch->second.begin(), std::min<std::size_t>(patch->second.size(), kBlockBytes), into);
    } else if (changed != content.changed.end() ? changed->second == 0 : zero_run) {
        std::memset(into, 0, kBlockBytes);
    } else {
        fill_block(mix(index ^ mix(changed != content.changed.end() ? changed->second : content.seed)), into);
    }
    if (start + kBlockBytes > size_bytes) {
        const std::uint64_t room = start < size_bytes ? size_bytes - start : 0;
        std::memset(into + room, 0, kBlockBytes - room);
    }
}

bool Disk::surely_empty(std::uint64_t cluster) const {
    if (content.image >= 0 || content.zero_fraction < 1 || !content.patches.empty()) return false;
    for (unsigned b = 0; b < kBlocksPerCluster; ++b) {
        if (content.changed.count(cluster * kBlocksPerCluster + b) > 0) return false;
    }
    return true;
}

Bytes to_bytes(std::string_view text) {
    const auto bytes = std::as_bytes(std::span(text));
    return {bytes.begin(), bytes.end()};
}

void change_blocks(Guest& guest, std::uint64_t count, std::uint64_t seed) {
    Random random(seed);
    if (guest.disks.empty()) return;
    for (std::uint64_t i = 0; i < count; ++i) {
        Disk& disk = guest.disks[random.below(guest.disks.size())];
        const std::uint64_t block = random.below((disk.size_bytes + kBlockBytes - 1) / kBlockBytes);
        disk.content.changed[block] = random.chance(0.1) ? 0 : random.next();
    }
}

Guest random_guest(std::uint64_t seed) {
    Random random(seed);
    if (random.chance(0.02)) return crowded_guest(seed);
    Guest guest{.configs = random_configs(random)};
    std::vector<std::string> names(std::begin(kNames), std::end(kNames));
    random.shuffle(names);
    names.resize(random.below(7));
    if (random.chance(0.2)) names = {"drive-efidisk0", "drive-scsi0"};
    if (random.chance(0.1))
        names = {"drive-scsi10", "drive-scsi2", "drive-tpmstate0-backup", "drive-tpmstate0"};
    if (random.chance(0.1))
        names = {"drive-usb416", "drive-x22393855n", "drive-usb104", "drive-nvme225", "drive-nvme89"};
    for (auto& name : names) guest.disks.push_back(random_disk(random, std::move(name)));
    return guest;
}

Guest crowded_guest(std::uint64_t seed) {
    Random random(seed);
    Guest guest{.configs = random_configs(random)};
    std::set<std::string> names = {"drive-scsi0", "drive-ide2", "drive-efidisk0", "drive-tpmstate0-backup"};
    while (names.size() < 254) names.insert("drive-odd" + std::to_string(random.below(100000)));
    for (const auto& name : names) {
        Disk disk = random_disk(random, name);
        disk.size_bytes = 512 + 512 * random.below(20);
        guest.disks.push_back(std::move(disk));
    }
    return guest;
}

Guest plausible_guest(std::vector<Disk> disks) {
    std::string text =
        "#A guest that never ran\nagent: 1\ncores: 2\nmemory: 2048\nname: made-up\nostype: l26\n";
    std::string map;
    int number = 0;
    for (const auto& disk : disks) {
        const std::string slot = disk.name.starts_with("drive-") ? disk.name.substr(6) : disk.name;
        const std::string volume = "local-lvm:vm-100-disk-" + std::to_string(number++);
        text += slot + ": " + volume + ",size=" + std::to_string((disk.size_bytes + 1023) / 1024) + "K\n";
        map += "#qmdump#map:" + slot + ":" + disk.name + ":local-lvm:raw:\n";
    }
    text += "scsihw: virtio-scsi-pci\nsockets: 1\n" + map;
    return {.configs = {{"qemu-server.conf", to_bytes(text)}}, .disks = std::move(disks)};
}

}  // namespace vmad::testing
