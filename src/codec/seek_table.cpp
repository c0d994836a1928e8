#include "codec/seek_table.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/integers.hpp"

namespace vmad::codec {
namespace {

constexpr std::uint32_t kSkippableMagic = 0x184d2a5e;
constexpr std::uint32_t kTableMagic = 0x8f92eab1;
constexpr std::size_t kChecksumBytes = 4;
constexpr std::byte kChecksumFlag{0x80};
constexpr std::byte kReservedBits{0x7c};  ///< must be 0; the lowest two bits mean nothing
/// So many entries are in memory at a time.
constexpr std::uint64_t kChunkFrames = 4096;

FoundSeekTable defect(std::string_view text) {
    return {std::nullopt, fmt::format("the file ends in a seek table that does not fit it: {}", text)};
}

/// Reads entries of a file, the first of which stands at `begin`.
SeekTable::Load entries_at(io::FileSystem& fs, const io::File& file, std::uint64_t begin,
                           std::size_t entry_bytes) {
    return [&fs, &file, begin, entry_bytes](std::uint64_t first, std::span<SeekFrame> frames) {
        std::vector<std::byte> entries(frames.size() * entry_bytes);
        if (io::read_fully_at(fs, file, entries, begin + first * entry_bytes) != entries.size())
            throw base::Error(file.path() + ": the file became shorter while it was read");
        for (std::size_t i = 0; i < frames.size(); ++i) {
            const auto* entry = entries.data() + i * entry_bytes;
            frames[i].stored_bytes = base::load_le<std::uint32_t>(entry);
            frames[i].bytes = base::load_le<std::uint32_t>(entry + 4);
            if (entry_bytes == SeekTable::kEntryBytes)
                frames[i].checksum = base::load_le<std::uint32_t>(entry + 8);
        }
    };
}

}  // namespace

SeekTable::SeekTable(std::uint64_t frame_count, bool has_checksums, Load load)
    : count_(frame_count), has_checksums_(has_checksums), load_(std::move(load)) {
    for (std::uint64_t chunk = 0; chunk * kChunkFrames < count_; ++chunk) {
        chunk_offsets_.push_back(stored_bytes_);
        load_chunk(chunk);
        for (const auto& frame : chunk_) {
            stored_bytes_ += frame.stored_bytes;
            max_stored_bytes_ = std::max(max_stored_bytes_, frame.stored_bytes);
            max_bytes_ = std::max(max_bytes_, frame.bytes);
        }
    }
}

void SeekTable::load_chunk(std::uint64_t chunk) {
    if (chunk == chunk_number_) return;
    chunk_.resize(std::min(kChunkFrames, count_ - chunk * kChunkFrames));
    load_(chunk * kChunkFrames, chunk_);
    auto offset = chunk_offsets_[chunk];
    for (auto& frame : chunk_) {
        frame.stored_offset = offset;
        offset += frame.stored_bytes;
    }
    chunk_number_ = chunk;
}

const SeekFrame& SeekTable::operator[](std::uint64_t frame) {
    load_chunk(frame / kChunkFrames);
    return chunk_[frame % kChunkFrames];
}

std::array<std::byte, SeekTable::kHeaderBytes> SeekTable::encode_header(std::uint64_t frame_count) {
    std::array<std::byte, kHeaderBytes> header;
    base::store_le(header.data(), kSkippableMagic);
    base::store_le(header.data() + 4, static_cast<std::uint32_t>(frame_count * kEntryBytes + kFooterBytes));
    return header;
}

std::array<std::byte, SeekTable::kEntryBytes> SeekTable::encode_entry(std::uint64_t stored_bytes,
                                                                      std::uint64_t bytes,
                                                                      std::uint32_t checksum) {
    std::array<std::byte, kEntryBytes> entry;
    base::store_le(entry.data(), static_cast<std::uint32_t>(stored_bytes));
    base::store_le(entry.data() + 4, static_cast<std::uint32_t>(bytes));
    base::store_le(entry.data() + 8, checksum);
    return entry;
}

std::array<std::byte, SeekTable::kFooterBytes> SeekTable::encode_footer(std::uint64_t frame_count) {
    std::array<std::byte, kFooterBytes> footer;
    base::store_le(footer.data(), static_cast<std::uint32_t>(frame_count));
    footer[4] = kChecksumFlag;
    base::store_le(footer.data() + 5, kTableMagic);
    return footer;
}

std::uint32_t frame_checksum(std::span<const std::byte> frame_end) {
    return base::load_le<std::uint32_t>(frame_end.last(4).data());
}

FoundSeekTable read_seek_table(io::FileSystem& fs, const io::File& file) {
    constexpr auto kHeaderBytes = SeekTable::kHeaderBytes;
    constexpr auto kFooterBytes = SeekTable::kFooterBytes;
    const auto file_bytes = static_cast<std::uint64_t>(fs.status(file).st_size);
    std::byte footer[kFooterBytes];
    if (file_bytes < kHeaderBytes + kFooterBytes ||
        io::read_fully_at(fs, file, footer, file_bytes - kFooterBytes) != kFooterBytes ||
        base::load_le<std::uint32_t>(footer + 5) != kTableMagic)
        return {};

    if ((footer[4] & kReservedBits) != std::byte{0}) return defect("it has flags that mean nothing yet");
    const std::uint64_t count = base::load_le<std::uint32_t>(footer);
    const bool has_checksums = (footer[4] & kChecksumFlag) != std::byte{0};
    const auto entry_bytes = SeekTable::kEntryBytes - (has_checksums ? 0 : kChecksumBytes);
    const auto table_bytes = kHeaderBytes + count * entry_bytes + kFooterBytes;
    if (table_bytes > file_bytes) return defect(fmt::format("{} frames make it larger than the file", count));
    if (count > kMaxSeekFrames)
        return defect(fmt::format("it has {} frames, more than {}", count, kMaxSeekFrames));

    const auto at = file_bytes - table_bytes;
    std::byte header[kHeaderBytes];
    if (io::read_fully_at(fs, file, header, at) != kHeaderBytes ||
        base::load_le<std::uint32_t>(header) != kSkippableMagic ||
        base::load_le<std::uint32_t>(header + 4) != table_bytes - kHeaderBytes)
        return defect(fmt::format("it does not begin at byte {}, where {} frames put it", at, count));

    SeekTable table(count, has_checksums, entries_at(fs, file, at + kHeaderBytes, entry_bytes));
    if (table.stored_bytes() != at)
        return defect(
            fmt::format("its frames have {} bytes, the file has {} before it", table.stored_bytes(), at));
    return {std::move(table), {}};
}

}  // namespace vmad::codec
