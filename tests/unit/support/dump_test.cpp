#include "support/dump.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <set>
#include <string>

#include <doctest/doctest.h>

#include "support/archive_index.hpp"
#include "support/reference.hpp"

using namespace vmad::testing;

namespace {

std::uint64_t block_word(const Disk& disk, std::uint64_t block) {
    Bytes bytes(kBlockBytes);
    disk.read_block(block, bytes.data());
    return get_le(bytes.data(), 8);
}

/// Device and cluster of each used slot, in file order.
std::vector<std::pair<unsigned, std::uint32_t>> order_of(const Bytes& archive) {
    std::vector<std::pair<unsigned, std::uint32_t>> order;
    std::size_t at = get_be(&archive[header_at::kHeaderSize], 4);
    while (at < archive.size()) {
        for (unsigned i = 0; i < kSlotsPerExtent; ++i) {
            const Slot slot = Slot::load(&archive[at + extent_at::kSlots + 8 * i]);
            if (slot.device != 0) order.emplace_back(slot.device, slot.cluster);
        }
        at += extent_at::kEnd + get_be(&archive[at + extent_at::kBlockCount], 2) * kBlockBytes;
    }
    return order;
}

Guest two_disks() {
    return plausible_guest({{.name = "drive-scsi2", .size_bytes = 3 * kClusterBytes},
                            {.name = "drive-scsi10", .size_bytes = 2 * kClusterBytes}});
}

}  // namespace

TEST_CASE("without disorder the disk with the greatest name comes first, as QEMU dumps it") {
    DumpOptions options;
    options.jitter = 1;
    options.injected = 0;
    using Order = std::vector<std::pair<unsigned, std::uint32_t>>;
    CHECK(order_of(dump(two_disks(), options)) == Order{{2, 0}, {2, 1}, {2, 2}, {1, 0}, {1, 1}});
    options.interleave = true;
    CHECK(order_of(dump(two_disks(), options)) == Order{{2, 0}, {1, 0}, {2, 1}, {1, 1}, {2, 2}});
}

TEST_CASE("an extent has 58 slots, and jitter disturbs their order") {
    const Guest guest = plausible_guest({{.name = "a", .size_bytes = 200 * kClusterBytes}});
    const Bytes archive = dump(guest);
    std::size_t used = 0;
    for (unsigned i = 0; i < kSlotsPerExtent; ++i) {
        used += Slot::load(&archive[12800 + extent_at::kSlots + 8 * i]).device;
    }
    CHECK(used == 58);
    const auto order = order_of(archive);
    CHECK(order.size() == 200);
    CHECK_FALSE(std::is_sorted(order.begin(), order.end()));
}

TEST_CASE("a guest without disks has one extent, and none of its slots is used") {
    const Bytes archive = dump(plausible_guest({}));
    CHECK(archive.size() == get_be(&archive[header_at::kHeaderSize], 4) + extent_at::kEnd);
    CHECK(order_of(archive).empty());
}

TEST_CASE("equal seeds give equal bytes, different ones do not") {
    const Guest guest = two_disks();
    DumpOptions other;
    other.seed = 2;
    CHECK(dump(guest) == dump(two_disks()));
    CHECK(dump(guest) != dump(guest, other));
    CHECK(extract(dump(random_guest(3))) == extract(dump(random_guest(3))));
}

TEST_CASE("a dump to a file descriptor is the dump in memory") {
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::tmpfile(), &std::fclose);
    REQUIRE(file);
    dump_to(fileno(file.get()), two_disks());
    const Bytes expected = dump(two_disks());
    Bytes written(expected.size() + 1);
    CHECK(pread(fileno(file.get()), written.data(), written.size(), 0) ==
          static_cast<ssize_t>(expected.size()));
    written.pop_back();
    CHECK(written == expected);
}

TEST_CASE("disk content: cut at the end of the disk, changed by seed, patched by hand") {
    Disk disk{.name = "a", .size_bytes = 2 * kBlockBytes + 512};
    disk.content.zero_fraction = 0;
    Bytes block(kBlockBytes);
    disk.content.patches[2] = Bytes(kBlockBytes, std::byte{7});
    disk.read_block(2, block.data());
    CHECK(block[511] == std::byte{7});
    CHECK(all_zero(View(block).subspan(512)));
    disk.read_block(3, block.data());
    CHECK(all_zero(block));

    const std::uint64_t before = block_word(disk, 1);
    disk.content.changed[1] = 99;
    CHECK(block_word(disk, 1) != before);
    disk.content.changed[1] = 0;
    CHECK(block_word(disk, 1) == 0);
    disk.content.patches[1] = to_bytes("x");
    CHECK(block_word(disk, 1) == 'x');
}

TEST_CASE("change_blocks changes what it says and no more") {
    Guest guest = two_disks();
    const Contents before = contents_of(guest);
    change_blocks(guest, 3, 1);
    const Contents after = contents_of(guest);
    CHECK(before.configs == after.configs);
    std::set<std::pair<std::string, std::size_t>> blocks;
    for (const auto& [name, bytes] : before.disks) {
        for (std::size_t i = 0; i < bytes.size(); ++i) {
            if (bytes[i] != after.disks.at(name)[i]) blocks.emplace(name, i / kBlockBytes);
        }
    }
    CHECK(blocks.size() >= 1);
    CHECK(blocks.size() <= 3);
}

TEST_CASE("random guests cover what is hard") {
    bool no_disk = false, no_config = false, tiny = false, empty_config = false, long_config = false,
         crowd = false, both_tpm = false, zero_disk = false, odd_size = false;
    for (std::uint64_t seed = 0; seed < 300; ++seed) {
        const Guest guest = random_guest(seed);
        no_disk |= guest.disks.empty();
        no_config |= guest.configs.empty();
        crowd |= guest.disks.size() == 254;
        unsigned tpm = 0;
        for (const auto& disk : guest.disks) {
            CHECK(disk.size_bytes % 512 == 0);
            CHECK(disk.size_bytes > 0);
            tiny |= disk.size_bytes == 512;
            odd_size |= disk.size_bytes % kBlockBytes != 0 && disk.size_bytes > kClusterBytes;
            zero_disk |= disk.content.zero_fraction == 1;
            if (disk.name.starts_with("drive-tpmstate0")) ++tpm;
        }
        both_tpm |= tpm >= 2;
        for (const auto& config : guest.configs) {
            empty_config |= config.data.empty();
            long_config |= config.data.size() >= 60000;
        }
    }
    CHECK(no_disk);
    CHECK(no_config);
    CHECK(tiny);
    CHECK(empty_config);
    CHECK(long_config);
    CHECK(crowd);
    CHECK(both_tpm);
    CHECK(zero_disk);
    CHECK(odd_size);
}
