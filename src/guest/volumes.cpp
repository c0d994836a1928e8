#include "guest/volumes.hpp"

#include <fmt/format.h>

#include "base/error.hpp"
#include "guest/lvm.hpp"

namespace vmad::guest {
namespace {

Volume volume_of(const Disk& disk, Partition partition) {
    return {.name = fmt::format("{}/p{}", disk.name, partition.number),
            .bytes = partition.bytes,
            .use = std::move(partition.type),
            .file_system = std::move(partition.file_system),
            .label = std::move(partition.label),
            .problem = {},
            .read = [read = disk.read, offset = partition.offset](
                        std::uint64_t at, std::span<std::byte> into) { read(offset + at, into); }};
}

void add_disk(std::vector<Volume>& volumes, const Disk& disk) {
    try {
        auto table = read_partition_table(disk.read, disk.bytes);
        for (auto& partition : table.partitions) volumes.push_back(volume_of(disk, std::move(partition)));
        if (table.partitions.empty())
            volumes.push_back({.name = disk.name,
                               .bytes = disk.bytes,
                               .use = {},
                               .file_system = std::move(table.file_system),
                               .label = std::move(table.label),
                               .problem = {},
                               .read = disk.read});
    } catch (const base::Error& error) {
        // One disk that cannot be read must not hide the others.
        volumes.push_back({.name = disk.name,
                           .bytes = disk.bytes,
                           .use = {},
                           .file_system = {},
                           .label = {},
                           .problem = error.what(),
                           .read = disk.read});
    }
}

Volume volume_of(LogicalVolume logical) {
    FileSystem found;
    try {
        if (logical.read) found = find_file_system(logical.read, logical.bytes);
    } catch (const base::Error& error) {
        logical.problem = error.what();
    }
    return {.name = std::move(logical.name),
            .bytes = logical.bytes,
            .use = "LVM logical volume",
            .file_system = std::move(found.type),
            .label = std::move(found.label),
            .problem = std::move(logical.problem),
            .read = std::move(logical.read)};
}

}  // namespace

std::vector<Volume> find_volumes(std::span<const Disk> disks) {
    std::vector<Volume> volumes;
    for (const auto& disk : disks) add_disk(volumes, disk);
    std::vector<LvmMember> members;
    for (const auto& volume : volumes)
        if (volume.file_system == "LVM2_member") members.push_back({volume.bytes, volume.read});
    for (auto& logical : find_logical_volumes(members)) volumes.push_back(volume_of(std::move(logical)));
    return volumes;
}

}  // namespace vmad::guest
