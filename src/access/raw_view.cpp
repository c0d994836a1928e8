#include "access/raw_view.hpp"

#include <algorithm>
#include <cstring>
#include <set>

#include <fmt/format.h>

#include "access/read_streams.hpp"
#include "access/region_cursor.hpp"
#include "access/shared_cache.hpp"
#include "canon/canonical_rules.hpp"
#include "codec/zstd_form.hpp"
#include "vma/extent.hpp"
#include "vma/header.hpp"

namespace vmad::access {
namespace {

using Bytes = std::vector<std::byte>;

/// The file has the bytes.
class PlainView final : public RawView {
  public:
    PlainView(io::FileSystem& fs, const io::File& file, std::uint64_t size_bytes)
        : RawView(size_bytes), fs_(fs), file_(file) {}

    void read_at(std::uint64_t offset, std::span<std::byte> into) override {
        if (io::read_fully_at(fs_, file_, into, offset) < into.size())
            throw base::Error("the file became shorter while it was read");
    }

  private:
    io::FileSystem& fs_;
    const io::File& file_;
};

/// Each piece is a frame of the file.
class FrameView final : public RawView {
  public:
    /// `cursor` stands before the first extent. Throws NotCanonical.
    FrameView(RegionCursor cursor, std::uint64_t size_bytes, Options options)
        : RawView(size_bytes),
          cursor_(std::move(cursor)),
          options_(std::move(options)),
          ahead_(parts_ahead(options_.read_ahead, options_.memory_bytes, canon::kMaxRegionExtent)),
          contents_(options_.memory_bytes, [this](std::size_t piece) { return load(piece); }),
          loader_(ahead_, [this](std::size_t piece) { load_ahead(piece); }) {
        pieces_.push_back({});
        auto finder = cursor_;
        for (StoredExtents extents; finder.next(extents);)
            pieces_.push_back({extents.offset, extents.frame.stored_offset, extents.frame.stored_bytes,
                               static_cast<std::uint32_t>(extents.number)});
    }

    void read_at(std::uint64_t offset, std::span<std::byte> into) override {
        if (into.empty()) return;
        auto piece = piece_at(offset);
        follow(offset, into.size());
        for (; !into.empty(); ++piece) {
            const auto begin = offset - pieces_[piece].offset;
            const auto count = std::min(into.size(), bytes_of(piece) - begin);
            std::memcpy(into.data(), contents_.get(piece)->bytes.data() + begin, count);
            offset += count;
            into = into.subspan(count);
        }
    }

  private:
    /// Ends where the next one begins. The first is the header.
    struct Piece {
        std::uint64_t offset;
        std::uint64_t stored_offset;
        std::uint32_t stored_bytes;
        std::uint32_t extent;  ///< the first one in it
    };
    struct Content {
        Bytes bytes;
        [[nodiscard]] std::size_t memory_bytes() const noexcept { return bytes.capacity(); }
    };

    [[nodiscard]] std::size_t piece_at(std::uint64_t offset) const {
        const auto next =
            std::upper_bound(pieces_.begin(), pieces_.end(), offset,
                             [](std::uint64_t at, const Piece& piece) { return at < piece.offset; });
        return static_cast<std::size_t>(next - pieces_.begin()) - 1;
    }

    [[nodiscard]] std::size_t bytes_of(std::size_t piece) const {
        const auto end = piece + 1 == pieces_.size() ? size_bytes() : pieces_[piece + 1].offset;
        return end - pieces_[piece].offset;
    }

    void follow(std::uint64_t offset, std::uint64_t bytes) {
        if (ahead_ == 0) return;
        const auto last = piece_at(offset + bytes - 1);
        if (!streams_.follow(0, offset, bytes, last)) return;
        auto piece = last + 1;
        for (std::size_t asked = 0; asked < ahead_ && piece < pieces_.size(); ++piece) {
            if (bytes_of(piece) <= codec::kMaxContentWithoutPayload) continue;  // not worth it
            if (!contents_.has(piece)) loader_.ask_for(piece);
            ++asked;
        }
    }

    void load_ahead(std::size_t piece) {
        try {
            (void)contents_.get(piece);
        } catch (const std::exception&) {
            return;  // it will be met by who reads there
        }
    }

    [[nodiscard]] Content load(std::size_t piece) {
        if (piece == 0) return {cursor_.layout().header()};
        try {
            return {load_extents(piece)};
        } catch (const NotCanonical&) {
        } catch (const base::InvalidArchive&) {
        }
        throw_damaged(piece);
    }

    [[nodiscard]] Bytes load_extents(std::size_t number) const {
        const auto& piece = pieces_[number];
        const auto bytes = bytes_of(number);
        const codec::SeekFrame frame{piece.stored_offset, piece.stored_bytes,
                                     static_cast<std::uint32_t>(bytes)};
        if (bytes > codec::kMaxContentWithoutPayload) return cursor_.read(frame, piece.extent).bytes;
        const auto count = static_cast<unsigned>(bytes / vma::kExtentHeaderSize);
        return cursor_.read_headers({piece.extent, count, piece.offset, bytes, frame});
    }

    [[noreturn]] void throw_damaged(std::size_t piece) {
        const base::Error error(damage(piece));
        const std::lock_guard lock(damaged_mutex_);
        if (damaged_.insert(piece).second && options_.report_damage) options_.report_damage(error);
        throw error;
    }

    /// What the reader of a disk would be told.
    [[nodiscard]] std::string damage(std::size_t piece) const {
        const auto plan = cursor_.layout().plan(pieces_[piece].extent);
        const auto header = vma::parse_header(cursor_.layout().header());
        const auto* device = header.device(plan.device_id);
        if (device != nullptr && plan.cluster_count != 0)
            return DamagedRegion(*device, plan.first_cluster / canon::kClustersPerRegion).what();
        const auto begin = pieces_[piece].offset;
        return fmt::format("bytes {} to {} of the uncompressed archive are damaged", begin,
                           begin + bytes_of(piece) - 1);
    }

    RegionCursor cursor_;
    const Options options_;
    const std::size_t ahead_;  ///< pieces with payload
    std::vector<Piece> pieces_;
    std::mutex damaged_mutex_;
    std::set<std::size_t> damaged_;  ///< that were reported
    ReadStreams streams_;
    SharedCache<std::size_t, Content> contents_;
    BackgroundLoader<std::size_t> loader_;  ///< last, so that its threads end before the rest goes
};

/// Whether a canonical archive ends here: with its last region, and the extents that fill its device up.
bool ends_with_last_extents(io::FileSystem& fs, const io::File& file, const canon::Layout& layout,
                            std::uint64_t size_bytes) {
    auto last = layout.extent_count() - 1;
    while (last > 0 && layout.plan(last).cluster_count == 0) --last;
    const auto filling = (layout.extent_count() - 1 - last) * vma::kExtentHeaderSize;
    if (size_bytes < layout.header().size() + filling + vma::kExtentHeaderSize) return false;
    Bytes end(std::min<std::uint64_t>(size_bytes - filling, canon::kMaxRegionExtent));
    if (io::read_fully_at(fs, file, end, size_bytes - filling - end.size()) < end.size()) return false;
    for (auto bytes = vma::kExtentHeaderSize; bytes <= end.size(); bytes += vma::kBlockSize) {
        std::array<std::byte, vma::kExtentHeaderSize> header;
        std::memcpy(header.data(), &end[end.size() - bytes], header.size());
        if (canon::canonical_extent_bytes(header, layout.plan(last)) == bytes) return true;
    }
    return false;
}

/// A canonical archive, as far as that shows.
struct Found {
    RegionCursor cursor;
    codec::ArchiveFormat format;
    std::uint64_t size_bytes;
};

std::optional<std::uint64_t> size_by_table(RegionCursor finder) {
    std::uint64_t size = finder.layout().header().size();
    try {
        for (StoredExtents extents; finder.next(extents);) size += extents.bytes;
    } catch (const NotCanonical&) {
        return std::nullopt;
    }
    return size;
}

std::optional<Found> find(io::FileSystem& fs, const io::File& file) {
    try {
        const auto format = codec::format_of_file(fs, file);
        auto cursor = RegionCursor::open(fs, file);
        if (!cursor) return std::nullopt;
        std::optional<std::uint64_t> size;
        if (format == codec::ArchiveFormat::zstd)
            size = size_by_table(*cursor);
        else if (const auto bytes = static_cast<std::uint64_t>(fs.status(file).st_size);
                 ends_with_last_extents(fs, file, cursor->layout(), bytes))
            size = bytes;
        if (!size) return std::nullopt;
        return Found{std::move(*cursor), format, *size};
    } catch (const base::InvalidArchive&) {
    } catch (const base::Unsupported&) {
    }
    return std::nullopt;
}

}  // namespace

std::unique_ptr<RawView> RawView::open(io::FileSystem& fs, const io::File& file, Options options) {
    auto found = find(fs, file);
    if (!found) return nullptr;
    if (found->format == codec::ArchiveFormat::raw)
        return std::make_unique<PlainView>(fs, file, found->size_bytes);
    try {
        return std::make_unique<FrameView>(std::move(found->cursor), found->size_bytes, std::move(options));
    } catch (const NotCanonical&) {
        return nullptr;  // it was written to just now
    }
}

std::optional<std::uint64_t> RawView::size_of(io::FileSystem& fs, const io::File& file) {
    const auto found = find(fs, file);
    return found ? std::optional(found->size_bytes) : std::nullopt;
}

}  // namespace vmad::access
