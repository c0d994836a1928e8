#include "engine/spill_file.hpp"

#include <fcntl.h>

#include <array>
#include <cstring>

#include "base/error.hpp"
#include "codec/seek_frame.hpp"
#include "io/free_space.hpp"
#include "io/temporary_name.hpp"
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

io::File open_nameless(io::FileSystem& fs, const io::File& directory) {
    if (auto unnamed = fs.open_unnamed(directory)) return std::move(*unnamed);
    const auto name = std::string(io::kReservedPrefix) + io::random_hex() + ".tmp";
    auto file = fs.open_at(directory, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
    fs.unlink(directory, name);
    return file;
}

}  // namespace

SpillFile::SpillFile(io::FileSystem& fs, SpillPlace place) : fs_(fs), place_(std::move(place)) {}
SpillFile::~SpillFile() = default;

void SpillFile::open() {
    if (place_.beside != nullptr)
        if (auto unnamed = fs_.open_unnamed(*place_.beside)) file_ = std::move(*unnamed);
    if (!file_) {
        directory_ = fs_.open(place_.directory, O_RDONLY | O_DIRECTORY);
        file_ = open_nameless(fs_, directory_);
        place_.beside = &directory_;
        place_.reserve_beside.reset();
    }
    reserve_bytes_ =
        place_.reserve_beside ? *place_.reserve_beside : io::default_reserve(fs_, *place_.beside);
    encoder_ = codec::make_frame_encoder(codec::ArchiveFormat::zstd, kLevel);
}

std::uint64_t SpillFile::write(std::uint64_t previous, const std::vector<SpilledCluster>& clusters) {
    if (!file_) open();
    RecordHeader header{previous, static_cast<std::uint32_t>(clusters.size()), 0, 0};
    std::vector<RecordCluster> entries;
    std::vector<iovec> slices;
    for (const auto& cluster : clusters) {
        entries.push_back({cluster.source_offset, cluster.mask, cluster.slot});
        const auto size = vma::stored_bytes(cluster.mask);
        if (cluster.blocks == nullptr || size == 0) continue;
        slices.push_back({const_cast<std::byte*>(cluster.blocks), size});  // it is only read
        header.payload_bytes += static_cast<std::uint32_t>(size);
    }
    if (header.payload_bytes > 0) {
        compressed_.resize(encoder_->bound(vma::kMaxExtentPayload));
        header.compressed_bytes = static_cast<std::uint32_t>(encoder_->encode(slices, compressed_));
    }
    const auto entries_bytes = entries.size() * sizeof(RecordCluster);
    const auto size = sizeof header + entries_bytes + header.compressed_bytes;
    io::require_space(fs_, *place_.beside, size, reserve_bytes_);
    const std::uint64_t at = end_;
    std::array<iovec, 3> parts{{{&header, sizeof header},
                                {entries.data(), entries_bytes},
                                {compressed_.data(), header.compressed_bytes}}};
    io::write_fully_at(fs_, file_, parts, at);
    end_ += size;
    return at;
}

SpillFile::Record SpillFile::read(std::uint64_t at) {
    const auto get = [this](void* into, std::size_t size, std::uint64_t offset) {
        if (io::read_fully_at(fs_, file_, {static_cast<std::byte*>(into), size}, offset) < size)
            throw base::Error(file_.path() + ": the spill file became shorter");
    };
    RecordHeader header;
    get(&header, sizeof header, at);
    std::vector<RecordCluster> entries(header.cluster_count);
    const auto entries_bytes = entries.size() * sizeof(RecordCluster);
    get(entries.data(), entries_bytes, at + sizeof header);
    Record record{header.previous, {}, {}};
    const auto payload_at = at + sizeof header + entries_bytes;
    if (header.payload_bytes > 0) {
        auto payload = codec::read_frame(
            fs_, file_, {payload_at, header.compressed_bytes, header.payload_bytes}, vma::kMaxExtentPayload);
        if (!payload)
            throw base::Error(file_.path() + ": the disk gave back something else than was spilled");
        record.payload = std::move(*payload);
    }
    const std::byte* blocks = record.payload.data();
    for (const auto& entry : entries) {
        const bool has_blocks = header.payload_bytes > 0 && entry.mask != 0;
        record.clusters.push_back(
            {entry.source_offset, entry.mask, entry.slot, has_blocks ? blocks : nullptr});
        if (has_blocks) blocks += vma::stored_bytes(entry.mask);
    }
    fs_.discard(file_, at, payload_at + header.compressed_bytes - at);
    return record;
}

}  // namespace vmad::engine
