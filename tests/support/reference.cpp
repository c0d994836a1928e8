#include "support/reference.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <set>

#include <xxhash.h>
#include <zstd.h>

#include "support/archive_index.hpp"
#include "support/archive_parts.hpp"

namespace vmad::testing {

namespace {

constexpr std::string_view kCanonicalUuid =
    "\x12\x34\x56\x78\xaa\xbb\xcc\xdd\xee\xff\xaa\xbb\xcc\xdd\xee\xff";
constexpr std::size_t kHeaderUnit = 65536;
constexpr std::uint32_t kRegionClusters = 32;

using Block = std::array<std::byte, kBlockBytes>;

/// Block `b` of cluster `cluster` with zeros past the device's end. All zero when it is not stored.
Block read_block(const ArchiveIndex::Device& device, const ArchiveIndex::Cluster& blocks,
                 std::uint64_t cluster, unsigned b) {
    Block block{};
    const std::uint64_t start = cluster * kClusterBytes + b * kBlockBytes;
    const std::uint64_t room = start < device.size_bytes ? device.size_bytes - start : 0;
    const std::uint64_t count = std::min<std::uint64_t>(room, blocks[b].size());
    std::copy_n(blocks[b].begin(), count, block.begin());
    return block;
}

/// Ids of the source by descending name, which is the order of the layout.
std::vector<std::uint8_t> by_descending_name(const ArchiveIndex& source) {
    std::vector<std::uint8_t> ids;
    for (const auto& [id, device] : source.devices) ids.push_back(id);
    std::sort(ids.begin(), ids.end(),
              [&](auto a, auto b) { return source.devices.at(a).name > source.devices.at(b).name; });
    return ids;
}

std::uint32_t fnv1a(const std::string& text) {
    std::uint32_t hash = 2166136261U;
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619U;
    return hash;
}

Bytes canonical_header(const ArchiveIndex& source, const std::map<std::string, std::uint8_t>& ids) {
    Bytes header(header_at::kEnd + 1);
    const auto add_blob = [&](View data) {
        const std::size_t at = header.size();
        header.resize(at + 2);
        put_le(&header[at], 2, data.size());
        header.insert(header.end(), data.begin(), data.end());
        return at - header_at::kEnd;
    };
    const auto add_name = [&](const std::string& name) { return add_blob(to_bytes(name + '\0')); };

    std::size_t slot = 0;
    for (const auto& [name, data] : source.configs) {
        const std::size_t name_pointer = add_name(name);
        const std::size_t data_pointer = add_blob(data);
        put_be(&header[header_at::kConfigNames + 4 * slot], 4, name_pointer);
        put_be(&header[header_at::kConfigData + 4 * slot], 4, data_pointer);
        ++slot;
    }
    std::map<std::string, std::uint64_t> sizes;
    for (const auto& [id, device] : source.devices) sizes[device.name] = device.size_bytes;
    for (const auto& [name, size] : sizes) {
        const std::size_t entry = header_at::kDevices + header_at::kDeviceBytes * ids.at(name);
        const std::size_t name_pointer = add_name(name);
        put_be(&header[entry], 4, name_pointer);
        put_be(&header[entry + header_at::kDeviceSize], 8, size);
    }
    const std::size_t blob_size = header.size() - header_at::kEnd;
    header.resize((header.size() + kHeaderUnit - 1) / kHeaderUnit * kHeaderUnit);

    std::memcpy(header.data(), "VMA", 4);
    put_be(&header[header_at::kVersion], 4, 1);
    std::memcpy(&header[header_at::kUuid], kCanonicalUuid.data(), kCanonicalUuid.size());
    put_be(&header[header_at::kCtime], 8, source.ctime);
    put_be(&header[header_at::kBlobOffset], 4, header_at::kEnd);
    put_be(&header[header_at::kBlobSize], 4, blob_size);
    put_be(&header[header_at::kHeaderSize], 4, header.size());
    seal(header, header_at::kMd5);
    return header;
}

/// Appends the extent of a device's clusters from `first` to `end` - 1.
void append_extent(Bytes& archive, const ArchiveIndex& source, std::uint8_t source_id, std::uint8_t id,
                   std::uint32_t first, std::uint32_t end) {
    Bytes head(extent_at::kEnd);
    Bytes data;
    for (std::uint32_t c = first; c < end; ++c) {
        Slot slot{.device = id, .cluster = c};
        for (unsigned b = 0; b < kBlocksPerCluster; ++b) {
            const Block block =
                read_block(source.devices.at(source_id), source.clusters.at({source_id, c}), c, b);
            if (all_zero(block)) continue;
            slot.mask = static_cast<std::uint16_t>(slot.mask | 1U << b);
            data.insert(data.end(), block.begin(), block.end());
        }
        slot.store(&head[extent_at::kSlots + 8 * (c - first)]);
    }
    std::memcpy(head.data(), "VMAE", 4);
    put_be(&head[extent_at::kBlockCount], 2, data.size() / kBlockBytes);
    std::memcpy(&head[extent_at::kUuid], kCanonicalUuid.data(), kCanonicalUuid.size());
    seal(head, extent_at::kMd5);
    archive.insert(archive.end(), head.begin(), head.end());
    archive.insert(archive.end(), data.begin(), data.end());
}

XXH128_hash_t hash_of(View bytes) { return XXH3_128bits(bytes.data(), bytes.size()); }

void append_le(Bytes& to, std::size_t width, std::uint64_t value) {
    to.resize(to.size() + width);
    put_le(&to[to.size() - width], width, value);
}

Bytes compress(View content, int level) {
    ZSTD_CCtx* context = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, level);
    ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
    Bytes frame(ZSTD_compressBound(content.size()));
    frame.resize(ZSTD_compress2(context, frame.data(), frame.size(), content.data(), content.size()));
    ZSTD_freeCCtx(context);
    return frame;
}

/// Up to a page, or to the next one, when there is no room for the skippable frame's header and 80 zeros.
void append_filling(Bytes& stored) {
    std::size_t end = (stored.size() + kBlockBytes - 1) / kBlockBytes * kBlockBytes;
    if (end - stored.size() < 88) end += kBlockBytes;
    append_le(stored, 4, 0x184d2a50);
    append_le(stored, 4, end - stored.size() - 4);
    stored.resize(end - 80, std::byte{0x55});
    stored.resize(end);
}

void append_text(Bytes& to, View text) {
    append_le(to, 4, text.size());
    to.insert(to.end(), text.begin(), text.end());
}

void append_canonical(Bytes& to, XXH128_hash_t hash) {
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, hash);
    const auto bytes = std::as_bytes(std::span(canonical.digest));
    to.insert(to.end(), bytes.begin(), bytes.end());
}

XXH128_hash_t device_digest(const ArchiveIndex& source, std::uint8_t id) {
    const ArchiveIndex::Device& device = source.devices.at(id);
    XXH128_hash_t sum{.low64 = 0, .high64 = 0};
    for (std::uint32_t c = 0; c < clusters_of(device.size_bytes); ++c) {
        for (unsigned b = 0; b < kBlocksPerCluster; ++b) {
            const Block block = read_block(device, source.clusters.at({id, c}), c, b);
            if (all_zero(block)) continue;
            Bytes record;
            append_le(record, 8, c * kClusterBytes + b * kBlockBytes);
            append_canonical(record, hash_of(block));
            const XXH128_hash_t hash = hash_of(record);
            const std::uint64_t low = sum.low64 + hash.low64;
            sum.high64 += hash.high64 + (low < sum.low64 ? 1 : 0);
            sum.low64 = low;
        }
    }
    Bytes record;
    append_text(record, to_bytes(device.name));
    append_le(record, 8, device.size_bytes);
    append_le(record, 8, sum.low64);
    append_le(record, 8, sum.high64);
    return hash_of(record);
}

}  // namespace

Contents extract(View archive) {
    const ArchiveIndex source(archive);
    Contents contents;
    for (const auto& [name, data] : source.configs)
        contents.configs.emplace_back(name, Bytes(data.begin(), data.end()));
    for (const auto& [id, device] : source.devices) contents.disks[device.name].resize(device.size_bytes);
    for (const auto& [key, blocks] : source.clusters) {
        const auto& [id, cluster] = key;
        const auto& device = source.devices.at(id);
        Bytes& disk = contents.disks.at(device.name);
        for (unsigned b = 0; b < kBlocksPerCluster; ++b) {
            const std::uint64_t start = cluster * kClusterBytes + b * kBlockBytes;
            if (start >= disk.size()) break;
            const Block block = read_block(device, blocks, cluster, b);
            std::copy_n(block.begin(), std::min(kBlockBytes, disk.size() - start), &disk[start]);
        }
    }
    return contents;
}

Contents contents_of(const Guest& guest) {
    Contents contents;
    for (const auto& config : guest.configs) contents.configs.emplace_back(config.name, config.data);
    for (const auto& disk : guest.disks) {
        Bytes& bytes = contents.disks[disk.name];
        bytes.resize((disk.size_bytes + kBlockBytes - 1) / kBlockBytes * kBlockBytes);
        for (std::uint64_t at = 0; at < bytes.size(); at += kBlockBytes)
            disk.read_block(at / kBlockBytes, &bytes[at]);
        bytes.resize(disk.size_bytes);
    }
    return contents;
}

std::map<std::string, std::uint8_t> reference_ids(const std::vector<std::string>& names) {
    std::map<std::string, std::uint8_t> known;
    const auto number = [&](const std::string& prefix, unsigned count) {
        for (unsigned i = 0; i < count; ++i) {
            known.emplace(prefix + std::to_string(i), static_cast<std::uint8_t>(known.size() + 1));
        }
    };
    number("drive-ide", 4);
    number("drive-scsi", 31);
    number("drive-virtio", 16);
    number("drive-sata", 6);
    number("drive-efidisk", 1);
    number("drive-tpmstate", 1);
    known["drive-tpmstate0-backup"] = 60;

    std::map<std::string, std::uint8_t> ids;
    std::set<unsigned> taken;
    const std::set<std::string> sorted(names.begin(), names.end());
    for (const auto& name : sorted) {
        if (known.contains(name)) taken.insert(ids[name] = known.at(name));
    }
    for (const auto& name : sorted) {
        if (ids.contains(name)) continue;
        std::vector<unsigned> wanted;
        for (std::uint64_t k = 0; k < 194; ++k)
            wanted.push_back(static_cast<unsigned>(61 + (fnv1a(name) + k) % 194));
        for (unsigned id = 1; id <= 254; ++id) wanted.push_back(id);
        for (const unsigned id : wanted) {
            if (!taken.insert(id).second) continue;
            ids[name] = static_cast<std::uint8_t>(id);
            break;
        }
    }
    return ids;
}

Bytes reference_repack(View archive) {
    const ArchiveIndex source(archive);
    std::vector<std::string> names;
    for (const auto& [id, device] : source.devices) names.push_back(device.name);
    const auto ids = reference_ids(names);
    Bytes canonical = canonical_header(source, ids);
    for (const std::uint8_t source_id : by_descending_name(source)) {
        const auto& device = source.devices.at(source_id);
        const auto count = static_cast<std::uint32_t>(clusters_of(device.size_bytes));
        std::uint32_t extents = 0;
        for (std::uint32_t first = 0; first < count; first += kRegionClusters, ++extents) {
            const std::uint32_t end = std::min(first + kRegionClusters, count);
            append_extent(canonical, source, source_id, ids.at(device.name), first, end);
        }
        for (; extents % 8 != 0; ++extents) append_extent(canonical, source, source_id, 0, 0, 0);
    }
    if (source.devices.empty()) append_extent(canonical, source, 0, 0, 0, 0);
    return canonical;
}

Bytes reference_zstd(View canonical, int level) {
    struct Frame {
        Bytes content;
        std::size_t group;  // of eight extents; the header has one of its own
    };
    const ArchiveParts parts(canonical);
    std::vector<Frame> frames{{parts.header, SIZE_MAX}};
    for (std::size_t i = 0; i < parts.extents.size(); ++i) {
        const auto& [head, data] = parts.extents[i];
        const auto is_run = [](const Bytes& content) { return content.size() <= 8 * extent_at::kEnd; };
        if (!data.empty() || !is_run(frames.back().content) || frames.back().group != i / 8)
            frames.push_back({{}, i / 8});
        Bytes& content = frames.back().content;
        content.insert(content.end(), head.begin(), head.end());
        content.insert(content.end(), data.begin(), data.end());
    }

    Bytes stored;
    Bytes entries;
    std::size_t entry_begin = 0;
    for (std::size_t i = 0; i < frames.size(); ++i) {
        const Bytes frame = compress(frames[i].content, level);
        stored.insert(stored.end(), frame.begin(), frame.end());
        if (i + 1 < frames.size() && frames[i + 1].content.size() > 4096) append_filling(stored);
        append_le(entries, 4, stored.size() - entry_begin);
        append_le(entries, 4, frames[i].content.size());
        append_le(entries, 4, XXH64(frames[i].content.data(), frames[i].content.size(), 0) & 0xffffffff);
        entry_begin = stored.size();
    }
    append_le(stored, 4, 0x184d2a5e);
    append_le(stored, 4, entries.size() + 9);
    stored.insert(stored.end(), entries.begin(), entries.end());
    append_le(stored, 4, frames.size());
    append_le(stored, 1, 0x80);
    append_le(stored, 4, 0x8f92eab1);
    return stored;
}

std::string content_digest(View archive) {
    const ArchiveIndex source(archive);
    auto ids = by_descending_name(source);
    std::reverse(ids.begin(), ids.end());
    Bytes record;
    for (const std::uint8_t id : ids) append_canonical(record, device_digest(source, id));
    for (const auto& [name, data] : source.configs) {
        append_text(record, to_bytes(name));
        append_text(record, data);
    }
    Bytes digest;
    append_canonical(digest, hash_of(record));
    std::string hex;
    for (const std::byte byte : digest) {
        hex += "0123456789abcdef"[std::to_integer<unsigned>(byte) / 16];
        hex += "0123456789abcdef"[std::to_integer<unsigned>(byte) % 16];
    }
    return hex;
}

}  // namespace vmad::testing
