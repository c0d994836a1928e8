#include "verify/canonical_check.hpp"

#include "base/error.hpp"
#include "canon/canonical_rules.hpp"
#include "canon/layout.hpp"
#include "codec/archive_format.hpp"
#include "codec/seek_frame.hpp"
#include "verify/published_digest.hpp"
#include "vma/header.hpp"

namespace vmad::verify {
namespace {

using RawExtentHeader = std::array<std::byte, vma::kExtentHeaderSize>;

/// The layout of an archive with this header, when the header is the canonical one.
std::optional<canon::Layout> canonical_layout(const std::vector<std::byte>& raw) {
    const auto header = vma::parse_header(raw);
    if (header.uuid != canon::kCanonicalUuid) return std::nullopt;
    canon::Layout layout(header);
    if (!canon::is_canonical_header(raw, layout)) return std::nullopt;
    return layout;
}

bool raw_is_canonical(io::FileSystem& fs, const io::File& file, const base::CancelFlag& cancel) {
    const auto size = static_cast<std::uint64_t>(fs.status(file).st_size);
    std::vector<std::byte> raw(vma::kFixedHeaderSize);
    if (io::read_fully_at(fs, file, raw, 0) < raw.size()) return false;
    raw.resize(vma::parse_header_size(std::span<const std::byte, vma::kFixedHeaderSize>(raw)));
    if (raw.size() > size || io::read_fully_at(fs, file, raw, 0) < raw.size()) return false;
    const auto layout = canonical_layout(raw);
    if (!layout) return false;
    std::uint64_t offset = raw.size();
    for (std::uint64_t number = 0; number < layout->extent_count(); ++number) {
        cancel.check();
        RawExtentHeader extent;
        if (io::read_fully_at(fs, file, extent, offset) < extent.size()) return false;
        const auto bytes = canon::canonical_extent_bytes(extent, layout->plan(number));
        if (!bytes) return false;
        offset += *bytes;
    }
    return offset == size;
}

bool zstd_is_canonical(io::FileSystem& fs, const io::File& file, const base::CancelFlag& cancel) {
    const auto found = codec::read_seek_table(fs, file);
    if (!found.table || found.table->frames.empty()) return false;
    const auto& frames = found.table->frames;
    const auto raw = codec::read_frame(fs, file, frames.front(), vma::kMaxHeaderSize);
    if (!raw || raw->size() < vma::kFixedHeaderSize) return false;
    const auto layout = canonical_layout(*raw);
    if (!layout || frames.size() != layout->extent_count() + 1) return false;
    for (std::uint64_t number = 0; number < layout->extent_count(); ++number) {
        cancel.check();
        RawExtentHeader extent;
        const auto& frame = frames[number + 1];
        if (!codec::read_frame_start(fs, file, frame, extent)) return false;
        if (canon::canonical_extent_bytes(extent, layout->plan(number)) != frame.bytes) return false;
    }
    return true;
}

}  // namespace

Canonical canonical_by_headers(io::FileSystem& fs, const io::File& file, const base::CancelFlag& cancel) {
    const auto answer = [](bool yes) { return yes ? Canonical::yes : Canonical::no; };
    try {
        switch (codec::format_of_file(fs, file)) {
            case codec::ArchiveFormat::raw:
                return answer(raw_is_canonical(fs, file, cancel));
            case codec::ArchiveFormat::zstd:
                return answer(zstd_is_canonical(fs, file, cancel));
            case codec::ArchiveFormat::gzip:
            case codec::ArchiveFormat::lzo:
                return published_digest(fs, file) ? Canonical::yes : Canonical::unknown;
        }
    } catch (const base::FormatError&) {
    } catch (const base::Unsupported&) {
    }
    return Canonical::no;
}

}  // namespace vmad::verify
