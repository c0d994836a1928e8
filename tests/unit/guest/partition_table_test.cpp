#include "guest/partition_table.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>

#include <doctest/doctest.h>
#include <zlib.h>

#include "base/integers.hpp"
#include "base/unique_fd.hpp"
#include "guest/confined_partitions.hpp"
#include "support/random.hpp"

using namespace vmad;
using guest::Partition;

namespace {

using Bytes = std::vector<std::byte>;
constexpr std::uint64_t kSector = 512;
constexpr std::uint64_t kMiB = 1 << 20;

Bytes text(std::string_view value) {
    const auto bytes = std::as_bytes(std::span(value));
    return {bytes.begin(), bytes.end()};
}

/// A disk of any size with bytes at some places.
class Disk {
  public:
    explicit Disk(std::uint64_t bytes) : size(bytes) {}

    void put(std::uint64_t offset, const Bytes& bytes) {
        for (std::size_t i = 0; i < bytes.size(); ++i) bytes_[offset + i] = bytes[i];
    }
    template <typename T>
    void put_le(std::uint64_t offset, T value) {
        Bytes bytes(sizeof value);
        base::store_le(bytes.data(), value);
        put(offset, bytes);
    }
    [[nodiscard]] Bytes get(std::uint64_t offset, std::size_t bytes) const {
        Bytes into(bytes);
        read(offset, into);
        return into;
    }
    void read(std::uint64_t offset, std::span<std::byte> into) const {
        REQUIRE(offset <= size);
        REQUIRE(into.size() <= size - offset);
        std::fill(into.begin(), into.end(), std::byte{0});
        for (auto at = bytes_.lower_bound(offset); at != bytes_.end() && at->first < offset + into.size();
             ++at)
            into[at->first - offset] = at->second;
    }

    // What mkfs and the like write, as far as libblkid asks for it.
    void put_ext4(std::uint64_t at, std::string_view label) {
        put_le<std::uint16_t>(at + 1024 + 0x38, 0xef53);
        put_le<std::uint32_t>(at + 1024 + 0x4c, 1);     // dynamic revision
        put_le<std::uint32_t>(at + 1024 + 0x5c, 0x4);   // has a journal
        put_le<std::uint32_t>(at + 1024 + 0x60, 0x40);  // extents
        put(at + 1024 + 0x78, text(label));
    }
    void put_swap(std::uint64_t at) {
        put_le<std::uint32_t>(at + 1024, 1);
        put_le<std::uint32_t>(at + 1028, 255);
        put(at + 4086, text("SWAPSPACE2"));
    }
    void put_ntfs(std::uint64_t at, std::uint64_t master_file_table) {
        put(at + 3, text("NTFS    "));
        put_le<std::uint16_t>(at + 11, 512);
        put_le<std::uint8_t>(at + 13, 8);
        put_le<std::uint64_t>(at + 40, 1 << 20);
        put_le<std::uint64_t>(at + 48, master_file_table / 4096);
        put_le<std::uint64_t>(at + 56, 2);
        put_le<std::uint8_t>(at + 64, 0xf6);  // records of 2^10 bytes
        put_le<std::uint8_t>(at + 68, 1);
        put_le<std::uint16_t>(at + 510, 0xaa55);
        for (const unsigned record : {0, 3}) put(at + master_file_table + record * 1024, text("FILE"));
    }

    std::uint64_t size;

  private:
    std::map<std::uint64_t, std::byte> bytes_;
};

guest::PartitionTable table_of(const Disk& disk) {
    return guest::read_partition_table(
        [&](std::uint64_t offset, std::span<std::byte> into) { disk.read(offset, into); }, disk.size);
}

void put_mbr_entry(Disk& disk, std::uint64_t sector, unsigned entry, unsigned type, std::uint32_t start,
                   std::uint32_t count) {
    const auto at = sector * kSector + 446 + entry * 16;
    disk.put_le<std::uint8_t>(at + 4, static_cast<std::uint8_t>(type));
    disk.put_le<std::uint32_t>(at + 8, start);
    disk.put_le<std::uint32_t>(at + 12, count);
    disk.put_le<std::uint16_t>(sector * kSector + 510, 0xaa55);
}

std::uint32_t crc_of(const Bytes& bytes) {
    return static_cast<std::uint32_t>(
        ::crc32(0, reinterpret_cast<const Bytef*>(bytes.data()), static_cast<uInt>(bytes.size())));
}

struct GptEntry {
    std::string type;  ///< 16 bytes as on disk, in hexadecimal
    std::uint64_t first, last;
    std::string name;
};

const std::string kLinux = "af3dc60f838472478e793d69d8477de4";
const std::string kEfi = "28732ac11ff8d211ba4b00a0c93ec93b";
const std::string kWindows = "a2a0d0ebe5b9334487c068b6b72699c7";
const std::string kUnheardOf = "00112233445566778899aabbccddeeff";

Bytes from_hex(std::string_view hex) {
    Bytes bytes;
    for (std::size_t i = 0; i < hex.size(); i += 2)
        bytes.push_back(std::byte(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16)));
    return bytes;
}

/// One of the two copies of a GPT; `lba` is the header's, the entries stand at `entries_lba`.
void put_gpt_copy(Disk& disk, const std::vector<GptEntry>& entries, std::uint64_t sector, std::uint64_t lba,
                  std::uint64_t entries_lba, std::uint32_t entry_count) {
    const auto last = disk.size / sector - 1;
    const auto list = entries_lba * sector;
    for (std::size_t i = 0; i < entries.size(); ++i) {
        const auto at = list + i * 128;
        disk.put(at, from_hex(entries[i].type));
        disk.put_le<std::uint64_t>(at + 16, i + 1);
        disk.put_le<std::uint64_t>(at + 32, entries[i].first);
        disk.put_le<std::uint64_t>(at + 40, entries[i].last);
        for (std::size_t n = 0; n < entries[i].name.size(); ++n)
            disk.put_le<std::uint16_t>(at + 56 + 2 * n, static_cast<std::uint16_t>(entries[i].name[n]));
    }
    const auto header = lba * sector;
    disk.put(header, text("EFI PART"));
    disk.put_le<std::uint32_t>(header + 8, 0x10000);
    disk.put_le<std::uint32_t>(header + 12, 92);
    disk.put_le<std::uint32_t>(header + 16, 0);
    disk.put_le<std::uint64_t>(header + 24, lba);
    disk.put_le<std::uint64_t>(header + 32, last - lba + 1);
    disk.put_le<std::uint64_t>(header + 40, 64);
    disk.put_le<std::uint64_t>(header + 48, last - 40);
    disk.put_le<std::uint64_t>(header + 72, entries_lba);
    disk.put_le<std::uint32_t>(header + 80, entry_count);
    disk.put_le<std::uint32_t>(header + 84, 128);
    // Of lists that are read at all.
    if (entry_count <= 65536) disk.put_le(header + 88, crc_of(disk.get(list, entry_count * 128)));
    disk.put_le(header + 16, crc_of(disk.get(header, 92)));
}

void put_gpt(Disk& disk, const std::vector<GptEntry>& entries, std::uint64_t sector = 512,
             std::uint32_t entry_count = 128) {
    put_mbr_entry(disk, 0, 0, 0xee, 1, 0xffffffff);
    const auto last = disk.size / sector - 1;
    put_gpt_copy(disk, entries, sector, 1, 2, entry_count);
    put_gpt_copy(disk, entries, sector, last, last - 32, std::min(entry_count, std::uint32_t{128}));
}

std::string line_of(const Partition& partition) {
    std::string line = std::to_string(partition.number) + " " + std::to_string(partition.offset) + "+" +
                       std::to_string(partition.bytes) + " " + partition.type;
    for (const auto* part : {&partition.name, &partition.file_system, &partition.label})
        line += ", " + (part->empty() ? "-" : *part);
    return line;
}

using Lines = std::vector<std::string>;

Lines lines_of(const guest::PartitionTable& table) {
    Lines lines{table.type};
    for (const auto& partition : table.partitions) lines.push_back(line_of(partition));
    return lines;
}

/// At 1 MiB, 2 MiB and so on, each that long.
GptEntry nth_mebibyte(const std::string& type, std::uint64_t number, std::string name = "") {
    return {type, number * 2048, number * 2048 + 2047, std::move(name)};
}

}  // namespace

TEST_CASE("a GPT, with names, words for types and file systems") {
    Disk disk(16 * kMiB);
    put_gpt(disk, {nth_mebibyte(kEfi, 1, "boot"),
                   nth_mebibyte(kLinux, 2),
                   nth_mebibyte(kUnheardOf, 3),
                   {kWindows, 8192, 16383, "data"}});
    disk.put_ext4(2 * kMiB, "root");
    disk.put_swap(3 * kMiB);
    disk.put_ntfs(4 * kMiB, 3 * kMiB);
    CHECK(lines_of(table_of(disk)) ==
          Lines{"gpt", "1 1048576+1048576 EFI System, boot, -, -",
                "2 2097152+1048576 Linux filesystem, -, ext4, root",
                "3 3145728+1048576 33221100-5544-7766-8899-aabbccddeeff, -, swap, -",
                "4 4194304+4194304 Microsoft basic data, data, ntfs, -"});
}

TEST_CASE("a GPT counts where only its copy at the end is left, and with sectors of 4096 bytes") {
    Disk copy(16 * kMiB);
    put_gpt(copy, {nth_mebibyte(kLinux, 1)});
    copy.put(512, Bytes(512));
    CHECK(lines_of(table_of(copy)) == Lines{"gpt", "1 1048576+1048576 Linux filesystem, -, -, -"});

    Disk large_sectors(64 * kMiB);
    put_gpt(large_sectors, {{kLinux, 256, 511, "x"}}, 4096);
    CHECK(lines_of(table_of(large_sectors)) == Lines{"gpt", "1 1048576+1048576 Linux filesystem, x, -, -"});
}

TEST_CASE("an MBR with logical partitions, some MiB apart") {
    Disk disk(64 * kMiB);
    put_mbr_entry(disk, 0, 0, 0x83, 2048, 2048);
    put_mbr_entry(disk, 0, 1, 0x05, 4096, 100000);
    put_mbr_entry(disk, 4096, 0, 0x82, 2048, 2048);
    put_mbr_entry(disk, 4096, 1, 0x05, 40000, 10000);
    put_mbr_entry(disk, 44096, 0, 0x8e, 63, 2048);
    disk.put_ext4(kMiB, "");
    disk.put_swap(3 * kMiB);
    CHECK(lines_of(table_of(disk)) == Lines{"dos", "1 1048576+1048576 Linux, -, ext4, -",
                                            "5 3145728+1048576 Linux swap / Solaris, -, swap, -",
                                            "6 22609408+1048576 Linux LVM, -, -, -"});
}

TEST_CASE("without a table, the file system of the whole disk is told") {
    Disk disk(std::uint64_t{1} << 40);
    disk.put_ext4(0, "all");
    const auto table = table_of(disk);
    CHECK(table.type.empty());
    CHECK(table.partitions.empty());
    CHECK(table.file_system == "ext4");
    CHECK(table.label == "all");
}

TEST_CASE("disks of any size without anything, the smallest too") {
    for (const std::uint64_t size : {std::uint64_t{0}, kSector, 2 * kSector, 4096 + kSector, kMiB,
                                     kMiB + kSector, std::uint64_t{1} << 48}) {
        CAPTURE(size);
        const auto table = table_of(Disk(size));
        CHECK(table.type.empty());
        CHECK(table.file_system.empty());
    }
}

TEST_CASE("law: partitions lie on their disk, and there are not too many, however the table was made") {
    for (std::uint64_t seed = 1; seed <= 300; ++seed) {
        CAPTURE(seed);
        testing::Random random(seed);
        Disk disk((1 + random.below(64)) * kMiB);
        const auto any = [&] { return static_cast<std::uint32_t>(random.next() >> random.below(60)); };
        if (random.chance(0.5)) {
            std::vector<GptEntry> entries(random.below(20), GptEntry{kLinux, 0, 0, "\x1b"});
            for (auto& entry : entries) entry.first = any(), entry.last = any();
            put_gpt(disk, entries);
        }
        for (unsigned sector = 0; sector < 300; ++sector) {
            if (sector > 0 && sector < 40) continue;
            for (unsigned entry = 0; entry < 4 && random.chance(0.7); ++entry)
                put_mbr_entry(disk, sector, entry, random.chance(0.5) ? 0x05 : 0x83,
                              static_cast<std::uint32_t>(random.chance(0.8) ? random.below(300) : any()),
                              any());
        }
        const auto table = table_of(disk);
        CHECK(table.partitions.size() <= guest::kMaxPartitions);
        for (const auto& partition : table.partitions) {
            CHECK(partition.bytes > 0);
            CHECK(partition.offset <= disk.size);
            CHECK(partition.bytes <= disk.size - partition.offset);
        }
    }
}

TEST_CASE("a list of more partitions than are taken, or than fit in memory") {
    Disk many(1024 * kMiB);
    std::vector<GptEntry> entries;
    for (std::uint64_t i = 1; i <= 300; ++i) entries.push_back(nth_mebibyte(kLinux, i + 1));
    put_gpt(many, entries, 512, 512);
    CHECK(table_of(many).partitions.size() == guest::kMaxPartitions);

    Disk huge(std::uint64_t{1} << 43);
    put_gpt(huge, {nth_mebibyte(kLinux, 1)}, 512, (std::uint32_t{1} << 25) - 1);
    huge.put(huge.size - kSector, Bytes(kSector));
    put_mbr_entry(huge, 0, 1, 0x05, 1, 100);  // so that the header counts as a list of logical partitions too
    CHECK(table_of(huge).partitions.empty());
}

TEST_CASE("an endless list of logical partitions ends") {
    Disk disk(64 * kMiB);
    put_mbr_entry(disk, 0, 0, 0x05, 4096, 100000);
    put_mbr_entry(disk, 4096, 0, 0x83, 64, 64);
    put_mbr_entry(disk, 4096, 1, 0x05, 1000, 100);
    put_mbr_entry(disk, 5096, 0, 0x83, 64, 64);
    put_mbr_entry(disk, 5096, 1, 0x05, 1000, 100);
    CHECK(table_of(disk).partitions.size() <= guest::kMaxPartitions);
}

TEST_CASE("what the reading throws is passed on") {
    struct Unreadable {};
    CHECK_THROWS_AS((void)guest::read_partition_table(
                        [](std::uint64_t, std::span<std::byte>) { throw Unreadable(); }, kMiB),
                    Unreadable);
}

TEST_CASE("law: the partition of a place is the one of the table, and a confined process names it") {
    Disk disk(16 * kMiB);
    put_gpt(disk, {nth_mebibyte(kEfi, 1), nth_mebibyte(kLinux, 2), {kWindows, 8192, 16383, "data"}});
    disk.put_ext4(2 * kMiB, "root");
    const guest::ReadAt read = [&](std::uint64_t offset, std::span<std::byte> into) {
        disk.read(offset, into);
    };
    const auto table = table_of(disk);
    std::vector<guest::DiskPlace> places;
    std::vector<std::string> names;
    for (std::uint64_t offset = 0; offset < disk.size; offset += kMiB / 2) {
        const auto found = guest::find_partition(read, disk.size, offset);
        const auto expected =
            std::find_if(table.partitions.begin(), table.partitions.end(), [&](const Partition& partition) {
                return partition.offset <= offset && offset < partition.offset + partition.bytes;
            });
        REQUIRE(found.has_value() == (expected != table.partitions.end()));
        if (found) CHECK(line_of(*found) == line_of(*expected));
        places.push_back({disk.size, read, offset});
        names.emplace_back(!found               ? ""
                           : found->number == 1 ? "1 (EFI System)"
                           : found->number == 2 ? "2 (ext4)"
                                                : "3 (Microsoft basic data)");
    }
    CHECK(guest::name_partitions(places, {}, {}) == names);
    CHECK(guest::name_partitions({}, {}, {}).empty());
}

TEST_CASE("a process that reads partitions and was taken over can neither hang us nor write to a terminal") {
    Disk disk(16 * kMiB);
    put_gpt(disk, {nth_mebibyte(kLinux, 2)});
    const guest::ReadAt good = [&](std::uint64_t offset, std::span<std::byte> into) {
        disk.read(offset, into);
    };
    const auto names = [&](const guest::ReadAt& bad, const guest::ConfinedReading& reading) {
        const std::vector<guest::DiskPlace> places{{disk.size, good, 2 * kMiB}, {disk.size, bad, 2 * kMiB}};
        return guest::name_partitions(places, reading, {});
    };
    using Names = std::vector<std::string>;
    CHECK(names([](auto, auto) { ::_exit(0); }, {}) == Names{"1 (Linux filesystem)", ""});
    CHECK(names([](auto, auto) { throw base::Error("damaged"); }, {}) == Names{"1 (Linux filesystem)", ""});
    CHECK(names(
              [](auto, auto) {
                  for (;;) ::usleep(1000);
              },
              {.patience = std::chrono::milliseconds(300)}) == Names{"1 (Linux filesystem)", ""});
    const auto to_pipe = [](std::string_view text) {
        struct stat status {};
        for (int fd = 3; fd < 64; ++fd)
            if (::fstat(fd, &status) == 0 && S_ISFIFO(status.st_mode))
                (void)!::write(fd, text.data(), text.size());
    };
    CHECK(names([&](auto, auto) { to_pipe("\x1b[31m\xff\n"), ::_exit(0); }, {}) ==
          Names{"1 (Linux filesystem)", "?[31m?"});
    CHECK(names(
              [&](auto, auto) {
                  for (;;) to_pipe(std::string(4096, 'x'));
              },
              {}) == Names{"1 (Linux filesystem)", ""});
}

TEST_CASE("a process that reads partitions has no descriptor but those it was given") {
    Disk disk(16 * kMiB);
    put_gpt(disk, {nth_mebibyte(kLinux, 2)});
    // With numbers that no file of the process itself gets.
    const base::UniqueFd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    const base::UniqueFd given(::fcntl(null.get(), F_DUPFD_CLOEXEC, 50));
    const base::UniqueFd other(::fcntl(null.get(), F_DUPFD_CLOEXEC, 60));
    const guest::ReadAt read = [&](std::uint64_t offset, std::span<std::byte> into) {
        if (::fcntl(given.get(), F_GETFD) < 0 || ::fcntl(other.get(), F_GETFD) >= 0) ::_exit(1);
        disk.read(offset, into);
    };
    const std::vector<guest::DiskPlace> places{{disk.size, read, 2 * kMiB}};
    CHECK(guest::name_partitions(places, {.files = {given.get()}}, {})[0] == "1 (Linux filesystem)");
    CHECK(guest::name_partitions(places, {}, {})[0].empty());
}
