#include "codec/seek_table.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "base/endian.hpp"

namespace vmad::codec {
namespace {

constexpr std::uint32_t kSkippableMagic = 0x184d2a5e;
constexpr std::uint32_t kTableMagic = 0x8f92eab1;
constexpr std::size_t kChecksumBytes = 4;
constexpr std::byte kChecksumFlag{0x80};
constexpr std::byte kReservedBits{0x7c};  ///< must be 0; the lowest two bits mean nothing
/// So many entries are read at a time.
constexpr std::uint64_t kEntriesAtOnce = 4096;

FoundSeekTable defect(std::string_view text) {
    return {std::nullopt, fmt::format("the file ends in a seek table that does not fit it: {}", text)};
}

}  // namespace

void SeekTable::add(std::uint32_t stored_bytes, std::uint32_t bytes) {
    const auto offset = frames.empty() ? 0 : frames.back().stored_offset + frames.back().stored_bytes;
    frames.push_back({offset, stored_bytes, bytes});
}

std::array<std::byte, SeekTable::kHeaderBytes> SeekTable::encode_header(std::uint64_t frame_count) {
    std::array<std::byte, kHeaderBytes> header;
    base::store_le(header.data(), kSkippableMagic);
    base::store_le(header.data() + 4, static_cast<std::uint32_t>(frame_count * kEntryBytes + kFooterBytes));
    return header;
}

std::array<std::byte, SeekTable::kEntryBytes> SeekTable::encode_entry(std::uint64_t stored_bytes,
                                                                      std::uint64_t bytes) {
    std::array<std::byte, kEntryBytes> entry;
    base::store_le(entry.data(), static_cast<std::uint32_t>(stored_bytes));
    base::store_le(entry.data() + 4, static_cast<std::uint32_t>(bytes));
    return entry;
}

std::array<std::byte, SeekTable::kFooterBytes> SeekTable::encode_footer(std::uint64_t frame_count) {
    std::array<std::byte, kFooterBytes> footer{};  // the descriptor, 0: no checksums
    base::store_le(footer.data(), static_cast<std::uint32_t>(frame_count));
    base::store_le(footer.data() + 5, kTableMagic);
    return footer;
}

std::vector<std::byte> SeekTable::encode() const {
    std::vector<std::byte> table;
    const auto put = [&table](const auto& part) { table.insert(table.end(), part.begin(), part.end()); };
    put(encode_header(frames.size()));
    for (const auto& frame : frames) put(encode_entry(frame.stored_bytes, frame.bytes));
    put(encode_footer(frames.size()));
    return table;
}

FoundSeekTable read_seek_table(io::FileSystem& fs, const io::File& file) {
    constexpr auto kHeaderBytes = SeekTable::kHeaderBytes;
    constexpr auto kFooterBytes = SeekTable::kFooterBytes;
    constexpr auto kEntryBytes = SeekTable::kEntryBytes;
    const auto file_bytes = static_cast<std::uint64_t>(fs.status(file).st_size);
    std::byte footer[kFooterBytes];
    if (file_bytes < kHeaderBytes + kFooterBytes ||
        io::read_fully_at(fs, file, footer, file_bytes - kFooterBytes) != kFooterBytes ||
        base::load_le<std::uint32_t>(footer + 5) != kTableMagic)
        return {};

    if ((footer[4] & kReservedBits) != std::byte{0}) return defect("it has flags that mean nothing yet");
    const std::uint64_t count = base::load_le<std::uint32_t>(footer);
    const bool has_checksums = (footer[4] & kChecksumFlag) != std::byte{0};
    const auto entry_bytes = kEntryBytes + (has_checksums ? kChecksumBytes : 0);
    const auto table_bytes = kHeaderBytes + count * entry_bytes + kFooterBytes;
    if (table_bytes > file_bytes) return defect(fmt::format("{} frames make it larger than the file", count));
    if (count > kMaxSeekFrames)
        return defect(fmt::format("it has {} frames, more than {}", count, kMaxSeekFrames));

    auto at = file_bytes - table_bytes;
    std::byte header[kHeaderBytes];
    if (io::read_fully_at(fs, file, header, at) != kHeaderBytes ||
        base::load_le<std::uint32_t>(header) != kSkippableMagic ||
        base::load_le<std::uint32_t>(header + 4) != table_bytes - kHeaderBytes)
        return defect(fmt::format("it does not begin at byte {}, where {} frames put it", at, count));
    at += kHeaderBytes;

    SeekTable table;
    table.frames.reserve(count);
    std::vector<std::byte> entries;
    std::uint64_t frames_bytes = 0;
    for (auto left = count; left > 0;) {
        const auto step = std::min(left, kEntriesAtOnce);
        entries.resize(step * entry_bytes);
        if (io::read_fully_at(fs, file, entries, at) != entries.size())
            return defect("the file has become shorter");
        for (std::size_t i = 0; i < entries.size(); i += entry_bytes) {
            table.add(base::load_le<std::uint32_t>(entries.data() + i),
                      base::load_le<std::uint32_t>(entries.data() + i + 4));
            frames_bytes += table.frames.back().stored_bytes;
        }
        at += entries.size();
        left -= step;
    }
    if (frames_bytes != file_bytes - table_bytes)
        return defect(fmt::format("its frames have {} bytes, the file has {} before it", frames_bytes,
                                  file_bytes - table_bytes));
    return {std::move(table), {}};
}

}  // namespace vmad::codec
