#include "access/archive_index.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "access/canonical_index.hpp"
#include "access/raw_index.hpp"

namespace vmad::access {
namespace {

std::unique_ptr<ArchiveIndex> read_by_headers(io::FileSystem& fs, const io::File& file, ExtentHeaders headers,
                                              const base::CancelFlag& cancel) {
    auto index = read_canonical_index(fs, file, codec::ArchiveFormat::raw, &headers, cancel);
    if (!index) {
        headers.rewind();
        index = read_raw_index(fs, file, headers);
    }
    headers.keep();
    return index;
}

}  // namespace

DamagedRegion::DamagedRegion(const vma::Device& device, std::uint32_t region)
    : Error(fmt::format("{}: bytes {} to {} are damaged in the archive", device.name,
                        region * std::uint64_t{canon::kRegionBytes},
                        std::min((region + std::uint64_t{1}) * canon::kRegionBytes, device.size_bytes) - 1)) {
}

void ArchiveIndex::throw_damaged(const RegionNumber& number) const {
    throw DamagedRegion(*header_.device(number.device_id), number.region);
}

std::unique_ptr<ArchiveIndex> ArchiveIndex::read(io::FileSystem& fs, const io::File& file,
                                                 const base::TaskOptions& task, const IndexCache* cache) {
    const auto format = codec::format_of_file(fs, file);
    if (format == codec::ArchiveFormat::raw) {
        try {
            if (cache != nullptr)
                if (auto kept = cache->find(fs, file))
                    return read_by_headers(fs, file, {fs, file, task, std::move(kept)}, task.cancel_flag());
        } catch (const base::Error&) {
            // What was kept is not of this file, or damaged: the file itself tells.
        }
        return read_by_headers(fs, file,
                               {fs, file, task, cache == nullptr ? nullptr : cache->record(fs, file)},
                               task.cancel_flag());
    }
    if (auto index = read_canonical_index(fs, file, format, nullptr, task.cancel_flag())) return index;
    throw base::Unsupported(
        "nothing can be found in it without reading all that stands before; repack it first: "
        "vmactl repack --in-place FILE");
}

std::unique_ptr<ArchiveIndex> ArchiveIndex::of_known(io::FileSystem& fs, const io::File& file,
                                                     const std::vector<DiskChecksums>& regions) {
    return known_raw_index(fs, file, regions);
}

}  // namespace vmad::access
