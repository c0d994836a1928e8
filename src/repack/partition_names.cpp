#include "repack/partition_names.hpp"

#include <algorithm>

#include "access/disk_reader.hpp"
#include "guest/confined_partitions.hpp"

namespace vmad::repack {
namespace {

constexpr std::uint64_t kMemoryBytes = std::uint64_t{16} << 20;

std::vector<std::string> names_by(const access::ArchiveIndex& index, const io::File& archive,
                                  std::span<const ArchivePlace> places, const base::CancelFlag& cancel) {
    access::DiskReader reader(index, {.memory_bytes = kMemoryBytes, .read_ahead = 1});
    std::vector<guest::DiskPlace> on_disks;
    std::vector<std::size_t> numbers;
    for (std::size_t i = 0; i < places.size(); ++i)
        for (const auto& device : index.header().devices) {
            if (device.name != places[i].disk || places[i].offset >= device.size_bytes) continue;
            on_disks.push_back(
                {.disk_bytes = device.size_bytes,
                 .read = [&reader, id = device.id](auto at, auto into) { reader.read_at(id, at, into); },
                 .offset = places[i].offset});
            numbers.push_back(i);
        }
    std::vector<std::string> names(places.size());
    const auto found = guest::name_partitions(on_disks, {.files = {archive.fd()}}, cancel);
    for (std::size_t i = 0; i < found.size(); ++i) names[numbers[i]] = found[i];
    return names;
}

}  // namespace

ArchivePlace place_for_partition(const verify::DamagedStretch& stretch) {
    if (stretch.is_somewhere || stretch.bytes == 0) return {};
    return {stretch.disk, stretch.offset + std::min<std::uint64_t>(stretch.bytes, canon::kRegionBytes) - 1};
}

std::vector<std::string> partition_names(io::FileSystem& fs, const io::File& archive,
                                         std::span<const ArchivePlace> places,
                                         const access::ChecksumStore& store, const base::CancelFlag& cancel) {
    const bool any =
        std::any_of(places.begin(), places.end(), [](const auto& place) { return !place.disk.empty(); });
    if (!any) return std::vector<std::string>(places.size());
    try {
        base::TaskOptions task;
        task.cancel = &cancel;
        const auto checksums = access::checksums_of(fs, archive, &store, cancel);
        const bool is_raw = codec::format_of_file(fs, archive) == codec::ArchiveFormat::raw;
        auto index = is_raw && checksums ? access::ArchiveIndex::of_known(fs, archive, *checksums) : nullptr;
        if (!index) index = access::ArchiveIndex::read(fs, archive, task);
        return names_by(*index, archive, places, cancel);
    } catch (const base::Error&) {
        return std::vector<std::string>(places.size());
    }
}

}  // namespace vmad::repack
