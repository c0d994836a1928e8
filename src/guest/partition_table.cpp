#include "guest/partition_table.hpp"

#include <blkid/blkid.h>
#include <libfdisk/libfdisk.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/integers.hpp"
#include "base/unique_fd.hpp"

namespace vmad::guest {
namespace {

constexpr std::uint64_t kSectorBytes = 512;  // the unit of libblkid and of an MBR
constexpr std::uint64_t kMiB = 1 << 20;
constexpr std::uint64_t kStartBytes = kMiB + (64 << 10);  // VMFS has its superblock at 1 MiB

bool stands_at(std::span<const std::byte> bytes, std::size_t offset, std::string_view text) {
    return bytes.size() >= offset + text.size() && std::memcmp(&bytes[offset], text.data(), text.size()) == 0;
}

bool is_gpt_header(std::span<const std::byte> sector) { return stands_at(sector, 0, "EFI PART"); }

using Sector = std::array<std::byte, kSectorBytes>;

/// A disk of which some pieces are in memory and the others are zero.
class SparseDisk {
  public:
    SparseDisk(const ReadAt& read, std::uint64_t bytes)
        : read_(read), bytes_(bytes), fd_(::memfd_create("disk", MFD_CLOEXEC)) {
        if (!fd_ || ::ftruncate(fd_.get(), static_cast<off_t>(bytes)) != 0)
            base::throw_errno("ftruncate", "partitions of a disk");
        fill(0, kStartBytes);
        fill(bytes - std::min(bytes, kMiB), kMiB);
    }

    [[nodiscard]] int fd() const noexcept { return fd_.get(); }
    [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }

    /// Takes in what of this piece lies on the disk, and returns it.
    std::vector<std::byte> fill(std::uint64_t offset, std::uint64_t bytes) {
        if (offset >= bytes_) return {};
        std::vector<std::byte> piece(std::min(bytes, bytes_ - offset));
        read_(offset, piece);
        write(offset, piece);
        return piece;
    }

    [[nodiscard]] Sector sector(std::uint64_t offset) const {
        Sector bytes{};
        if (::pread(fd_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset)) < 0)
            base::throw_errno("read", "partitions of a disk");
        return bytes;
    }

    /// libblkid, of file systems too, takes a GPT's whole list of partitions into memory, up to 4 GiB of it;
    /// common are 16 KiB.
    void hide_oversized_gpt() {
        for (const std::uint64_t size : {512, 4096})
            for (const auto offset : {size, (std::max(bytes_, size) / size - 1) * size}) {
                const auto header = sector(offset);
                const auto list_bytes = std::uint64_t{base::load_le<std::uint32_t>(&header[80])} *
                                        base::load_le<std::uint32_t>(&header[84]);
                if (is_gpt_header(header) && list_bytes > kMiB) write(offset, Sector{});
            }
    }

  private:
    void write(std::uint64_t offset, std::span<const std::byte> piece) {
        const auto written = ::pwrite(fd_.get(), piece.data(), piece.size(), static_cast<off_t>(offset));
        if (written != static_cast<ssize_t>(piece.size())) base::throw_errno("write", "partitions of a disk");
    }

    const ReadAt& read_;
    std::uint64_t bytes_;
    base::UniqueFd fd_;
};

// ---- partitions ----

/// Takes in the sectors that describe the logical partitions, a list without an end in itself.
void fill_logical_partitions(SparseDisk& disk) {
    constexpr std::size_t kEntries = 446;
    constexpr std::size_t kEntryBytes = 16;
    const auto extended_start = [](std::span<const std::byte> sector) -> std::uint64_t {
        for (auto at = kEntries; at < kEntries + 4 * kEntryBytes; at += kEntryBytes) {
            const auto type = std::to_integer<unsigned>(sector[at + 4]);
            if (type == 0x05 || type == 0x0f || type == 0x85)
                return base::load_le<std::uint32_t>(&sector[at + 8]) * kSectorBytes;
        }
        return 0;
    };
    const auto first = extended_start(disk.sector(0));
    auto next = first;
    for (std::size_t i = 0; next != 0 && i < kMaxPartitions; ++i) {
        const auto sector = disk.fill(next, kSectorBytes);
        const auto distance = sector.size() < kSectorBytes ? 0 : extended_start(sector);
        next = distance == 0 ? 0 : first + distance;
    }
}

struct ProbeDeleter {
    void operator()(blkid_probe probe) const noexcept { ::blkid_free_probe(probe); }
};
using Probe = std::unique_ptr<std::remove_pointer_t<blkid_probe>, ProbeDeleter>;

Probe probe_of(SparseDisk& disk) {
    disk.hide_oversized_gpt();
    Probe probe(::blkid_new_probe());
    if (!probe || ::blkid_probe_set_device(probe.get(), disk.fd(), 0, 0) != 0)
        throw base::Error("libblkid could not be started");
    return probe;
}

std::string text_of(const char* text) { return text == nullptr ? "" : text; }

/// libfdisk's words for the types of partitions.
class TypeWords {
  public:
    explicit TypeWords(const std::string& table_type)
        : context_(::fdisk_new_context()),
          label_(context_ ? ::fdisk_get_label(context_.get(), table_type.c_str()) : nullptr) {}

    std::string of(blkid_partition partition) const {
        const auto code = static_cast<unsigned>(::blkid_partition_get_type(partition));
        const auto* guid = ::blkid_partition_get_type_string(partition);
        const fdisk_parttype* found = nullptr;
        if (label_ != nullptr)
            found = guid != nullptr ? ::fdisk_label_get_parttype_from_string(label_, guid)
                                    : ::fdisk_label_get_parttype_from_code(label_, code);
        if (found != nullptr) return text_of(::fdisk_parttype_get_name(found));
        return guid != nullptr ? guid : fmt::format("{:#04x}", code);
    }

  private:
    struct Deleter {
        void operator()(fdisk_context* context) const noexcept { ::fdisk_unref_context(context); }
    };
    std::unique_ptr<fdisk_context, Deleter> context_;
    fdisk_label* label_;
};

/// Nothing when it does not lie on the disk.
std::optional<Partition> partition_of(blkid_partition found, const TypeWords& words,
                                      std::uint64_t disk_bytes) {
    const auto start = static_cast<std::uint64_t>(::blkid_partition_get_start(found));
    const auto sectors = static_cast<std::uint64_t>(::blkid_partition_get_size(found));
    const auto disk_sectors = disk_bytes / kSectorBytes;
    if (::blkid_partition_is_extended(found) != 0 || start >= disk_sectors || sectors == 0)
        return std::nullopt;
    Partition partition;
    partition.number = static_cast<unsigned>(::blkid_partition_get_partno(found));
    partition.offset = start * kSectorBytes;
    partition.bytes = std::min(sectors, disk_sectors - start) * kSectorBytes;
    partition.type = words.of(found);
    partition.name = text_of(::blkid_partition_get_name(found));
    return partition;
}

PartitionTable table_of(SparseDisk& disk, unsigned sector_bytes) {
    const auto probe = probe_of(disk);
    ::blkid_probe_set_sectorsize(probe.get(), sector_bytes);
    ::blkid_probe_enable_superblocks(probe.get(), 0);
    ::blkid_probe_enable_partitions(probe.get(), 1);
    PartitionTable table;
    auto* const list = ::blkid_probe_get_partitions(probe.get());
    auto* const found = list == nullptr ? nullptr : ::blkid_partlist_get_table(list);
    if (found == nullptr) return table;
    table.type = text_of(::blkid_parttable_get_type(found));
    const TypeWords words(table.type);
    const auto count = ::blkid_partlist_numof_partitions(list);
    for (int i = 0; i < count && table.partitions.size() < kMaxPartitions; ++i)
        if (auto partition = partition_of(::blkid_partlist_get_partition(list, i), words, disk.bytes()))
            table.partitions.push_back(std::move(*partition));
    return table;
}

PartitionTable find_partitions(const ReadAt& read, std::uint64_t disk_bytes) {
    SparseDisk disk(read, disk_bytes);
    fill_logical_partitions(disk);
    return table_of(disk, !is_gpt_header(disk.sector(512)) && is_gpt_header(disk.sector(4096)) ? 4096 : 512);
}

// ---- file systems ----

/// Takes in what a boot sector of Windows points to, and without which libblkid does not know it.
void fill_windows_places(SparseDisk& disk) {
    const auto boot = disk.sector(0);
    if (stands_at(boot, 3, "-FVE-FS-")) disk.fill(base::load_le<std::uint64_t>(&boot[176]), kMiB / 16);
    if (!stands_at(boot, 3, "NTFS    ")) return;
    const std::uint64_t cluster_bytes =
        base::load_le<std::uint16_t>(&boot[11]) * std::to_integer<std::uint64_t>(boot[13]);
    const auto master_file_table =
        base::checked_multiply(base::load_le<std::uint64_t>(&boot[48]), cluster_bytes);
    if (master_file_table) disk.fill(*master_file_table, kMiB / 16);
}

std::string value_of(const Probe& probe, const char* name) {
    const char* data = nullptr;
    if (::blkid_probe_lookup_value(probe.get(), name, &data, nullptr) != 0) return "";
    return text_of(data);
}

void add_file_system(Partition& partition, const ReadAt& read) {
    auto [type, label] = find_file_system(
        [&](std::uint64_t offset, std::span<std::byte> into) { read(partition.offset + offset, into); },
        partition.bytes);
    partition.file_system = std::move(type);
    partition.label = std::move(label);
}

}  // namespace

PartitionTable read_partition_table(const ReadAt& read, std::uint64_t disk_bytes) {
    auto table = find_partitions(read, disk_bytes);
    for (auto& partition : table.partitions) add_file_system(partition, read);
    if (!table.type.empty()) return table;
    auto [type, label] = find_file_system(read, disk_bytes);
    table.file_system = std::move(type);
    table.label = std::move(label);
    return table;
}

std::optional<Partition> find_partition(const ReadAt& read, std::uint64_t disk_bytes, std::uint64_t offset) {
    for (auto& partition : find_partitions(read, disk_bytes).partitions)
        if (partition.offset <= offset && offset - partition.offset < partition.bytes) {
            add_file_system(partition, read);
            return std::move(partition);
        }
    return std::nullopt;
}

FileSystem find_file_system(const ReadAt& read, std::uint64_t bytes) {
    SparseDisk disk(read, bytes);
    fill_windows_places(disk);
    const auto probe = probe_of(disk);
    ::blkid_probe_enable_superblocks(probe.get(), 1);
    ::blkid_probe_set_superblocks_flags(probe.get(), BLKID_SUBLKS_TYPE | BLKID_SUBLKS_LABEL);
    if (::blkid_do_safeprobe(probe.get()) != 0) return {};
    return {value_of(probe, "TYPE"), value_of(probe, "LABEL")};
}

}  // namespace vmad::guest
