#include "engine/seek_entries.hpp"

#include <algorithm>

#include "codec/seek_table.hpp"
#include "io/byte_stream.hpp"

namespace vmad::engine {
namespace {

using codec::SeekTable;

/// The entries of 1.3 TiB of full disks.
constexpr std::size_t kMemoryBytes = std::size_t{8} << 20;
constexpr std::uint64_t kCopyBytes = std::uint64_t{1} << 20;

void append(io::ByteSink& sink, std::span<const std::byte> bytes) {
    auto slice = io::const_slice(bytes);
    sink.append({&slice, 1}, bytes.size());
}

}  // namespace

void SeekEntries::add(std::uint64_t stored_bytes, std::uint64_t bytes, std::uint32_t checksum) {
    const auto entry = SeekTable::encode_entry(stored_bytes, bytes, checksum);
    entries_.insert(entries_.end(), entry.begin(), entry.end());
    ++count_;
    if (entries_.size() < kMemoryBytes) return;
    auto slice = io::const_slice(entries_);
    (void)store_.append({&slice, 1}, entries_.size());
    entries_.clear();
}

void SeekEntries::write_table(io::ByteSink& sink) {
    append(sink, SeekTable::encode_header(count_));
    std::vector<std::byte> copy;
    for (std::uint64_t at = 0; at < store_.size_bytes(); at += copy.size()) {
        copy.resize(std::min(kCopyBytes, store_.size_bytes() - at));
        store_.read(copy, at);
        append(sink, copy);
    }
    append(sink, entries_);
    append(sink, SeekTable::encode_footer(count_));
}

}  // namespace vmad::engine
