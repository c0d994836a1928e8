#include "support/archive_parts.hpp"

#include <bit>

namespace vmad::testing {

ArchiveParts::ArchiveParts(View archive) {
    const auto take = [&archive](std::size_t count) {
        Bytes part(archive.begin(), archive.begin() + static_cast<std::ptrdiff_t>(count));
        archive = archive.subspan(count);
        return part;
    };
    header = take(get_be(&archive[header_at::kHeaderSize], 4));
    while (!archive.empty()) {
        Bytes head = take(extent_at::kEnd);
        Bytes data = take(get_be(&head[extent_at::kBlockCount], 2) * kBlockBytes);
        extents.push_back({std::move(head), std::move(data)});
    }
}

void ArchiveParts::set_header(std::size_t at, std::uint64_t value, std::size_t width) {
    put_be(&header[at], width, value);
}

std::uint64_t ArchiveParts::get_header(std::size_t at, std::size_t width) const {
    return get_be(&header[at], width);
}

std::size_t ArchiveParts::blob_at(std::size_t pointer_at) const {
    return get_header(header_at::kBlobOffset) + get_header(pointer_at) + 2;
}

std::uint64_t ArchiveParts::extent_offset(std::size_t extent) const {
    std::uint64_t offset = header.size();
    for (std::size_t i = 0; i < extent; ++i) offset += extents[i].head.size() + extents[i].data.size();
    return offset;
}

std::uint64_t ArchiveParts::slot_offset(std::size_t extent, std::size_t slot) const {
    return extent_offset(extent) + extent_at::kSlots + 8 * slot;
}

Slot ArchiveParts::slot(std::size_t extent, std::size_t slot) const {
    return Slot::load(&extents[extent].head[extent_at::kSlots + 8 * slot]);
}

void ArchiveParts::set_slot(std::size_t extent, std::size_t slot, Slot value) {
    value.store(&extents[extent].head[extent_at::kSlots + 8 * slot]);
}

void ArchiveParts::remove_cluster(std::size_t extent, std::size_t removed) {
    const auto blocks_of = [&](std::size_t s) { return std::popcount(slot(extent, s).mask); };
    Bytes& data = extents[extent].data;
    std::ptrdiff_t before = 0;
    for (std::size_t s = 0; s < removed; ++s) before += blocks_of(s);
    const auto block = static_cast<std::ptrdiff_t>(kBlockBytes);
    data.erase(data.begin() + before * block, data.begin() + (before + blocks_of(removed)) * block);
    set_slot(extent, removed, {});
    put_be(&extents[extent].head[extent_at::kBlockCount], 2, data.size() / kBlockBytes);
}

Bytes ArchiveParts::join() const {
    Bytes archive = header;
    seal(archive, header_at::kMd5);
    for (const auto& [head, data] : extents) {
        const std::size_t at = archive.size();
        archive.insert(archive.end(), head.begin(), head.end());
        seal(std::span(archive).subspan(at), extent_at::kMd5);
        archive.insert(archive.end(), data.begin(), data.end());
    }
    return archive;
}

}  // namespace vmad::testing
