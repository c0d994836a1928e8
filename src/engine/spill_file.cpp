#include "engine/spill_file.hpp"

#include <array>
#include <cstring>

#include "base/error.hpp"
#include "canon/layout.hpp"
#include "codec/seek_frame.hpp"
#include "io/byte_stream.hpp"
#include "vma/format.hpp"

namespace vmad::engine {
namespace {

/// Fast, and still a third of what most guests hold: the disk is the slower of the two.
constexpr int kLevel = 1;

/// What stands before a record's clusters and its compressed payload. Read by the process that wrote it.
struct RecordHeader {
    std::uint64_t previous;
    std::uint32_t cluster_count;
    std::uint32_t compressed_bytes;  ///< 0 when the record has no payload
    std::uint32_t payload_bytes;
};

struct RecordCluster {
    std::uint64_t source_offset;
    std::uint16_t mask;
    std::uint16_t slot;
};

}  // namespace

SpillFile::SpillFile(io::FileSystem& fs, SpillPlace place) : fs_(fs), store_(fs, std::move(place)) {}
SpillFile::~SpillFile() = default;

std::uint64_t SpillFile::write(std::uint64_t previous, const std::vector<SpilledCluster>& clusters) {
    if (!encoder_) encoder_ = codec::make_frame_encoder(codec::ArchiveFormat::zstd, kLevel);
    RecordHeader header{previous, static_cast<std::uint32_t>(clusters.size()), 0, 0};
    std::vector<RecordCluster> entries;
    std::vector<iovec> slices;
    for (const auto& cluster : clusters) {
        entries.push_back({cluster.source_offset, cluster.mask, cluster.slot});
        const auto size = vma::stored_bytes(cluster.mask);
        if (cluster.blocks == nullptr || size == 0) continue;
        slices.push_back(io::const_slice({cluster.blocks, size}));
        header.payload_bytes += static_cast<std::uint32_t>(size);
    }
    if (header.payload_bytes > 0) {
        compressed_.resize(encoder_->bound(canon::kRegionBytes));
        header.compressed_bytes = static_cast<std::uint32_t>(encoder_->encode(slices, compressed_));
    }
    const auto entries_bytes = entries.size() * sizeof(RecordCluster);
    const auto size = sizeof header + entries_bytes + header.compressed_bytes;
    std::array<iovec, 3> parts{{{&header, sizeof header},
                                {entries.data(), entries_bytes},
                                {compressed_.data(), header.compressed_bytes}}};
    return store_.append(parts, size);
}

SpillFile::Record SpillFile::read(std::uint64_t at) {
    const auto get = [this](void* into, std::size_t size, std::uint64_t offset) {
        store_.read({static_cast<std::byte*>(into), size}, offset);
    };
    RecordHeader header;
    get(&header, sizeof header, at);
    std::vector<RecordCluster> entries(header.cluster_count);
    const auto entries_bytes = entries.size() * sizeof(RecordCluster);
    get(entries.data(), entries_bytes, at + sizeof header);
    Record record{header.previous, {}, {}};
    const auto payload_at = at + sizeof header + entries_bytes;
    if (header.payload_bytes > 0) {
        auto payload =
            codec::read_frame(fs_, store_.file(), {payload_at, header.compressed_bytes, header.payload_bytes},
                              canon::kRegionBytes);
        if (!payload)
            throw base::Error(store_.file().path() + ": the disk gave back something else than was spilled");
        record.payload = std::move(*payload);
    }
    const std::byte* blocks = record.payload.data();
    for (const auto& entry : entries) {
        const bool has_blocks = header.payload_bytes > 0 && entry.mask != 0;
        record.clusters.push_back(
            {entry.source_offset, entry.mask, entry.slot, has_blocks ? blocks : nullptr});
        if (has_blocks) blocks += vma::stored_bytes(entry.mask);
    }
    store_.discard(at, payload_at + header.compressed_bytes - at);
    return record;
}

}  // namespace vmad::engine
