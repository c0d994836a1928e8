// Law: whatever a guest's disk holds, its partitions lie on it, in order and no more than the limit, each is
// found by a byte in it, and its logical volumes read bytes of the disk only. Names of partitions and
// metadata of LVM are read or refused.
#include <array>

#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "fuzz_target.hpp"
#include "guest/lvm.hpp"
#include "guest/partition_table.hpp"
#include "guest/volumes.hpp"

namespace vmad::fuzz {
namespace {

constexpr std::size_t kSectorBytes = 512;

/// A disk of which some sectors are given. Valid until the next call: fresh memory is what takes longest.
const Bytes& take_disk(Input& input) {
    static Bytes disk;
    disk.assign((1 + input.below(4)) << 20, std::byte{0});
    for (unsigned i = 0; i < 64 && !input.empty(); ++i) {
        const auto place = input.take<std::uint16_t>();
        // The highest bit: from the end.
        const auto sector = (place & 0x7fff) % (disk.size() / kSectorBytes);
        const auto at =
            (place & 0x8000) != 0 ? disk.size() - (sector + 1) * kSectorBytes : sector * kSectorBytes;
        const auto bytes = input.bytes(kSectorBytes);
        std::copy(bytes.begin(), bytes.end(), disk.begin() + static_cast<std::ptrdiff_t>(at));
    }
    return disk;
}

guest::ReadAt reader_of(const Bytes& disk) {
    return [&disk](std::uint64_t offset, std::span<std::byte> into) {
        require(offset <= disk.size() && into.size() <= disk.size() - offset, "reads lie on the disk");
        std::copy_n(disk.begin() + static_cast<std::ptrdiff_t>(offset), into.size(), into.begin());
    };
}

void check_table(const Bytes& disk) {
    const auto read = reader_of(disk);
    const auto table = guest::read_partition_table(read, disk.size());
    require(table.partitions.size() <= guest::kMaxPartitions, "a disk has so many partitions at most");
    unsigned last = 0;
    for (const auto& partition : table.partitions) {
        require(partition.number > last || last == 0, "partitions are in order");
        last = partition.number;
        require(partition.bytes > 0 && partition.offset <= disk.size() &&
                    partition.bytes <= disk.size() - partition.offset,
                "a partition lies on the disk");
        const auto found = guest::find_partition(read, disk.size(), partition.offset);
        require(found && partition.offset >= found->offset && partition.offset < found->offset + found->bytes,
                "a partition is found by its first byte");
    }
    (void)guest::find_partition(read, disk.size(), disk.size() - 1);
}

void check_volumes(const Bytes& disk) {
    const guest::Disk disks[] = {{"scsi0", disk.size(), reader_of(disk)}};
    for (const auto& volume : guest::find_volumes(disks)) {
        if (!volume.read || volume.bytes == 0) continue;
        Bytes piece(std::min<std::uint64_t>(volume.bytes, 4096));
        volume.read(0, piece);
        volume.read(volume.bytes - piece.size(), piece);
    }
}

void run(View bytes) {
    Input input(bytes);
    if (input.below(4) == 0) {
        try {
            (void)guest::parse_lvm_metadata(input.text());
        } catch (const base::Error&) {
        }
        return;
    }
    const auto& disk = take_disk(input);
    check_table(disk);
    check_volumes(disk);
}

/// The given sectors as take_disk() takes them.
Bytes seed_of(unsigned mebibytes, const std::vector<std::pair<std::uint16_t, Bytes>>& sectors) {
    Bytes seed{std::byte{1}, static_cast<std::byte>(mebibytes - 1)};
    for (auto [place, sector] : sectors) {
        sector.resize(kSectorBytes);
        seed.push_back(static_cast<std::byte>(place & 0xff));
        seed.push_back(static_cast<std::byte>(place >> 8));
        append(seed, sector);
    }
    return seed;
}

/// An MBR or EBR: entries of type, first sector, sectors.
Bytes boot_record(const std::vector<std::array<std::uint32_t, 3>>& entries) {
    Bytes sector(kSectorBytes);
    for (std::size_t i = 0; i < entries.size(); ++i) {
        const auto at = 446 + 16 * i;
        testing::put_le(&sector[at + 4], 1, entries[i][0]);
        testing::put_le(&sector[at + 8], 4, entries[i][1]);
        testing::put_le(&sector[at + 12], 4, entries[i][2]);
    }
    sector[510] = std::byte{0x55};
    sector[511] = std::byte{0xaa};
    return sector;
}

std::vector<Bytes> seeds() {
    std::vector<Bytes> result;
    result.push_back(seed_of(4, {{0, boot_record({{0x83, 64, 1000}, {0x05, 2048, 4000}, {0x07, 7000, 100}})},
                                 {2048, boot_record({{0x83, 8, 100}, {0x05, 200, 300}})},
                                 {2248, boot_record({{0x82, 8, 100}})}}));
    result.push_back(seed_of(1, {{0, boot_record({{0xee, 1, 2047}})}}));
    auto ext = Bytes(kSectorBytes);
    testing::put_le(&ext[56], 2, 0xef53);
    testing::put_le(&ext[4], 4, 1024);
    testing::put_le(&ext[76], 4, 1);
    result.push_back(seed_of(2, {{2, ext}}));
    auto label = bytes_of("LABELONE");
    label.resize(kSectorBytes);
    const auto type = bytes_of("LVM2 001");
    std::copy(type.begin(), type.end(), label.begin() + 24);
    testing::put_le(&label[8], 8, 1);
    testing::put_le(&label[20], 4, 32);
    result.push_back(seed_of(3, {{1, label}}));
    Bytes text{std::byte{0}};
    const auto metadata = bytes_of(
        "vg {\nid = \"a-b\"\nseqno = 1 # c\nstatus = [\"READ\"]\nphysical_volumes {\npv0 {\nid = \"x\"\n"
        "pe_start = 2048\npe_count = 1\n}\n}\nlogical_volumes {\nroot {\nsegment_count = 1\n"
        "segment1 {\ntype = \"striped\"\nstripes = [\"pv0\", 0]\n}\n}\n}\n}\n");
    append(text, metadata);
    result.push_back(std::move(text));
    return result;
}

const Registration registration({"disk", 15, run, seeds});

}  // namespace
}  // namespace vmad::fuzz
