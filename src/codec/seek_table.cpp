#include "codec/seek_table.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "base/endian.hpp"

namespace vmad::codec {
namespace {

constexpr std::uint32_t kSkippableMagic = 0x184d2a5e;
constexpr std::uint32_t kTableMagic = 0x8f92eab1;
constexpr std::size_t kHeaderBytes = 8;
constexpr std::size_t kFooterBytes = 9;
constexpr std::size_t kEntryBytes = 8;
constexpr std::size_t kChecksumBytes = 4;
constexpr std::byte kChecksumFlag{0x80};
constexpr std::byte kReservedBits{0x7c};  ///< must be 0; the lowest two bits mean nothing
/// Frames of our size for an archive of 59 TiB. Sums of so many 32-bit sizes do not overflow.
constexpr std::uint64_t kMaxFrames = std::uint64_t{1} << 24;
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

std::vector<std::byte> SeekTable::encode() const {
    const auto following_bytes = frames.size() * kEntryBytes + kFooterBytes;
    std::vector<std::byte> table(kHeaderBytes + following_bytes);
    auto* at = table.data();
    const auto put = [&at](std::size_t value) {
        base::store_le(at, static_cast<std::uint32_t>(value));
        at += sizeof(std::uint32_t);
    };
    put(kSkippableMagic);
    put(following_bytes);
    for (const auto& frame : frames) {
        put(frame.stored_bytes);
        put(frame.bytes);
    }
    put(frames.size());
    ++at;  // the descriptor: no checksums
    put(kTableMagic);
    return table;
}

FoundSeekTable read_seek_table(io::FileSystem& fs, const io::File& file) {
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
    if (count > kMaxFrames) return defect(fmt::format("it has {} frames, more than {}", count, kMaxFrames));

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
