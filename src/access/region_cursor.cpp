#include "access/region_cursor.hpp"

#include <algorithm>
#include <cstring>

#include "base/error.hpp"
#include "canon/canonical_rules.hpp"
#include "codec/archive_format.hpp"
#include "codec/seek_frame.hpp"
#include "codec/zstd_form.hpp"
#include "vma/extent.hpp"
#include "vma/header.hpp"

namespace vmad::access {
namespace {

using RawExtentHeader = std::array<std::byte, vma::kExtentHeaderSize>;

// Extents without payload share a frame within a group.
static_assert(codec::kMaxContentWithoutPayload == canon::kExtentsPerGroup * vma::kExtentHeaderSize);

/// The first bytes of a raw archive; fewer than a header where the file is too short for one.
std::vector<std::byte> read_raw_header(io::FileSystem& fs, const io::File& file) {
    std::vector<std::byte> raw(vma::kFixedHeaderSize);
    if (io::read_fully_at(fs, file, raw, 0) < raw.size()) return {};
    const auto size = vma::parse_header_size(std::span<const std::byte, vma::kFixedHeaderSize>(raw));
    if (size > static_cast<std::uint64_t>(fs.status(file).st_size)) return {};
    raw.resize(size);
    if (io::read_fully_at(fs, file, raw, 0) < raw.size()) return {};
    return raw;
}

/// The layout of an archive with this header, when the header is the canonical one.
std::optional<canon::Layout> canonical_layout(const std::vector<std::byte>& raw) {
    if (raw.size() < vma::kFixedHeaderSize) return std::nullopt;
    const auto header = vma::parse_header(raw);
    if (header.uuid != canon::kCanonicalUuid) return std::nullopt;
    canon::Layout layout(header);
    if (!canon::is_canonical_header(raw, layout)) return std::nullopt;
    return layout;
}

}  // namespace

std::optional<RegionCursor> RegionCursor::open(io::FileSystem& fs, const io::File& file) {
    std::vector<std::byte> header;
    std::optional<codec::SeekTable> table;
    const auto format = codec::format_of_file(fs, file);
    if (format == codec::ArchiveFormat::raw) header = read_raw_header(fs, file);
    if (format == codec::ArchiveFormat::zstd) {
        table = codec::read_seek_table(fs, file).table;
        if (!table || table->size() == 0 || !table->has_checksums()) return std::nullopt;
        header =
            codec::read_frame(fs, file, (*table)[0], vma::kMaxHeaderSize).value_or(std::vector<std::byte>());
    }
    auto layout = canonical_layout(header);
    if (!layout) return std::nullopt;
    RegionCursor cursor(fs, file, std::move(*layout));
    cursor.table_ = std::move(table);
    cursor.offset_ = header.size();
    return cursor;
}

bool RegionCursor::next(StoredExtents& extents) {
    if (number_ == layout_.extent_count()) {
        check_end();
        return false;
    }
    extents = {number_, 1, offset_, 0, {}};
    if (table_)
        find_frame(extents);
    else
        find_raw(extents);
    number_ += extents.count;
    offset_ += extents.bytes;
    in_run_ = !extents.has_payload();
    return true;
}

void RegionCursor::check_end() {
    const bool at_end = table_ ? frame_ == table_->size()
                               : offset_ == static_cast<std::uint64_t>(fs_->status(*file_).st_size);
    if (!at_end) throw NotCanonical();
}

void RegionCursor::find_raw(StoredExtents& extents) {
    RawExtentHeader header;
    const bool is_there = read_header_ ? read_header_(offset_, header)
                                       : io::read_fully_at(*fs_, *file_, header, offset_) == header.size();
    if (!is_there) throw NotCanonical();
    const auto bytes = canon::canonical_extent_bytes(header, layout_.plan(number_));
    if (!bytes) throw NotCanonical();
    extents.bytes = *bytes;
    extents.frame = {offset_, static_cast<std::uint32_t>(*bytes), static_cast<std::uint32_t>(*bytes)};
}

void RegionCursor::find_frame(StoredExtents& extents) {
    if (frame_ == table_->size()) throw NotCanonical();
    extents.frame = (*table_)[frame_++];
    extents.bytes = extents.frame.bytes;
    if (extents.bytes > codec::kMaxContentWithoutPayload) {
        if (extents.frame.stored_offset % codec::kPageBytes != 0) throw NotCanonical();
        return;
    }
    extents.count = static_cast<unsigned>(extents.bytes / vma::kExtentHeaderSize);
    const auto place = number_ % canon::kExtentsPerGroup;
    const bool goes_on = in_run_ && place != 0;  // those before should be in the same frame
    if (extents.count == 0 || extents.bytes % vma::kExtentHeaderSize != 0 || goes_on ||
        place + extents.count > canon::kExtentsPerGroup || number_ + extents.count > layout_.extent_count())
        throw NotCanonical();
}

void RegionCursor::check_headers(const StoredExtents& extents) const {
    if (!table_) return;  // next() has seen it
    if (extents.has_payload()) {
        RawExtentHeader header;
        if (!codec::read_frame_start(*fs_, *file_, extents.frame, header) ||
            canon::canonical_extent_bytes(header, layout_.plan(extents.number)) != extents.bytes)
            throw NotCanonical();
        return;
    }
    (void)read_headers(extents);
}

std::vector<std::byte> RegionCursor::read_headers(const StoredExtents& extents) const {
    std::vector<std::byte> headers(extents.bytes);
    if (table_) {
        auto content = codec::read_frame(*fs_, *file_, extents.frame, codec::kMaxContentWithoutPayload);
        if (!content) throw NotCanonical();
        headers = std::move(*content);
    } else if (io::read_fully_at(*fs_, *file_, headers, extents.frame.stored_offset) < headers.size()) {
        throw NotCanonical();
    }
    for (unsigned i = 0; i < extents.count; ++i) {
        RawExtentHeader header;
        std::memcpy(header.data(), headers.data() + i * header.size(), header.size());
        if (canon::canonical_extent_bytes(header, layout_.plan(extents.number + i)) != header.size())
            throw NotCanonical();
    }
    return headers;
}

ExtentContent RegionCursor::read(const codec::SeekFrame& frame, std::uint64_t number) const {
    ExtentContent extent;
    if (table_) {
        auto content = codec::read_frame(*fs_, *file_, frame, canon::kMaxRegionExtent);
        if (!content) throw NotCanonical();
        extent.bytes = std::move(*content);
    } else {
        extent.bytes.resize(frame.bytes);
        if (io::read_fully_at(*fs_, *file_, extent.bytes, frame.stored_offset) < frame.bytes)
            throw NotCanonical();
    }
    RawExtentHeader header;
    std::copy_n(extent.bytes.begin(), header.size(), header.begin());
    if (canon::canonical_extent_bytes(header, layout_.plan(number)) != frame.bytes) throw NotCanonical();
    extent.header = vma::parse_extent_header(header, canon::kCanonicalUuid, 0);
    return extent;
}

}  // namespace vmad::access
