#include "compact_archive.hpp"

#include <algorithm>

#include "support/archive_parts.hpp"
#include "support/dump.hpp"
#include "support/random.hpp"
#include "support/reference.hpp"

namespace vmad::fuzz {
namespace {

namespace header_at = testing::header_at;
namespace extent_at = testing::extent_at;

constexpr std::size_t kHeadBytes = 60;
constexpr std::size_t kPointerBytes = 64;
constexpr std::size_t kSectorBytes = 512;
constexpr unsigned kIds[] = {0, 1, 2, 3, 5, 58, 254, 255};
constexpr std::size_t kMaxExtents = 32;
constexpr std::size_t kMaxExtentBlocks = std::size_t{testing::kSlotsPerExtent} * testing::kBlocksPerCluster;
constexpr std::size_t kMaxArchiveBytes = std::size_t{4} << 20;

void put(Bytes& into, std::size_t at, View bytes) {
    std::copy(bytes.begin(), bytes.end(), into.begin() + static_cast<std::ptrdiff_t>(at));
}

void append_block(Bytes& archive, std::uint8_t kind) {
    const auto at = archive.size();
    archive.resize(at + testing::kBlockBytes);
    if (kind == 0) return;
    // The highest bit: noise.
    if (kind >= 128)
        testing::Random(kind).fill(std::span(archive).subspan(at));
    else
        archive[at + kind * 31U] = static_cast<std::byte>(kind);
}

void append_extent(Bytes& archive, Input& input, bool seals) {
    const auto head = input.bytes(extent_at::kEnd);
    const auto at = archive.size();
    append(archive, head);
    if (head.size() < extent_at::kEnd) return;
    if (seals) testing::seal(std::span(archive).subspan(at), extent_at::kMd5);
    const auto blocks =
        std::min<std::size_t>(testing::get_be(&head[extent_at::kBlockCount], 2), kMaxExtentBlocks);
    for (const auto kind : input.bytes(blocks)) append_block(archive, std::to_integer<std::uint8_t>(kind));
}

/// Has the structure that compact() can keep.
testing::DumpOptions plain_options(std::uint64_t seed) {
    auto options = testing::random_dump_options(seed);
    options.scattered_slots = options.blob_slack = false;
    options.slots_per_extent = std::max(options.slots_per_extent, 30U);
    return options;
}

}  // namespace

Bytes& expand(View compact, bool may_be_unsealed) {
    Input input(compact);
    const bool seals = !input.flag() || !may_be_unsealed;
    const std::size_t more_sectors = input.take();
    const auto cut = input.take<std::uint16_t>();
    const std::size_t blob_bytes = input.take<std::uint16_t>();
    static Bytes archive;
    archive.assign(header_at::kEnd, std::byte{0});
    put(archive, 0, input.bytes(kHeadBytes));
    put(archive, header_at::kConfigNames, input.bytes(kPointerBytes));
    put(archive, header_at::kConfigData, input.bytes(kPointerBytes));
    for (const auto id : kIds)
        put(archive, header_at::kDevices + header_at::kDeviceBytes * id,
            input.bytes(header_at::kDeviceBytes));
    append(archive, input.bytes(blob_bytes));
    archive.resize((archive.size() + kSectorBytes - 1) / kSectorBytes * kSectorBytes +
                   more_sectors * kSectorBytes);
    if (seals) testing::seal(archive, header_at::kMd5);
    for (unsigned i = 0; i < kMaxExtents && archive.size() < kMaxArchiveBytes && !input.empty(); ++i)
        append_extent(archive, input, seals);
    archive.resize(archive.size() - std::min<std::size_t>(cut, archive.size()));
    return archive;
}

Bytes compact(View archive) {
    const testing::ArchiveParts parts(archive);
    const auto blobs = View(parts.header).subspan(header_at::kEnd);
    // What is not kept are sectors of zeros at the end.
    const auto last =
        std::find_if(blobs.rbegin(), blobs.rend(), [](std::byte b) { return b != std::byte{0}; });
    const auto used = static_cast<std::size_t>(blobs.rend() - last);
    const auto sectors = std::min<std::size_t>((blobs.size() - used) / kSectorBytes, 255);
    const auto kept = blobs.size() - sectors * kSectorBytes;
    Bytes result(6);
    testing::put_le(&result[1], 1, sectors);
    testing::put_le(&result[4], 2, kept);
    append(result, View(parts.header).first(kHeadBytes));
    append(result, View(parts.header).subspan(header_at::kConfigNames, kPointerBytes));
    append(result, View(parts.header).subspan(header_at::kConfigData, kPointerBytes));
    for (const auto id : kIds)
        append(result,
               View(parts.header)
                   .subspan(header_at::kDevices + header_at::kDeviceBytes * id, header_at::kDeviceBytes));
    append(result, blobs.first(kept));
    for (const auto& [head, data] : parts.extents) {
        append(result, head);
        for (std::size_t at = 0; at < data.size(); at += testing::kBlockBytes) {
            const auto block = View(data).subspan(at, testing::kBlockBytes);
            result.push_back(testing::all_zero(block) ? std::byte{0} : block[0] | std::byte{1});
        }
    }
    return result;
}

std::vector<Bytes> compact_seeds() {
    std::vector<Bytes> seeds;
    const auto add = [&](const testing::Guest& guest, std::uint64_t seed) {
        const auto archive = testing::dump(guest, plain_options(seed));
        seeds.push_back(compact(archive));
        if (const auto canonical = testing::reference_repack(archive); seed % 3 == 0)
            seeds.push_back(compact(canonical));
    };
    add(testing::plausible_guest({}), 1);
    add(testing::plausible_guest({{"drive-scsi0", 66048, {}}}), 2);
    add(testing::plausible_guest({{"drive-scsi0", 512, {}}, {"drive-efidisk0", 540672, {.seed = 2}}}), 3);
    add(testing::plausible_guest({{"drive-scsi0", 4 << 20, {.zero_fraction = 0.9}}}), 4);
    add(testing::plausible_guest({{"a", 131072, {.zero_fraction = 1}}, {"b", 70144, {.seed = 3}}}), 5);
    return seeds;
}

}  // namespace vmad::fuzz
