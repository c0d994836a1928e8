#include "access/extent_search.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include <fmt/format.h>
#include <xxhash.h>

#include "canon/canonical_rules.hpp"
#include "codec/seek_table.hpp"
#include "codec/zstd_form.hpp"
#include "vma/extent.hpp"
#include "vma/header.hpp"

namespace vmad::access {
namespace {

using codec::ArchiveFormat;
using State = codec::StoredPiece::State;
using RawExtentHeader = std::array<std::byte, vma::kExtentHeaderSize>;
using Bytes = std::span<const std::byte>;

/// Of gzip members: what is looked through at once for the start of one, and what tells that it is one.
constexpr std::size_t kScannedBytes = std::size_t{4} << 20;
constexpr std::size_t kMemberStartBytes = 4096;

/// What is known of the regions beforehand.
class Expectation {
  public:
    Expectation(const std::vector<DiskChecksums>* disks, const vma::Header& header,
                const canon::Layout& layout) {
        if (disks == nullptr || !are_disks_of(*disks, header)) return;
        for (const auto& [device, regions] : *disks) {
            const auto first = layout.place(device.id, 0).extent;
            for (const auto& region : regions) regions_.push_back({first + region.region, region});
        }
        std::sort(regions_.begin(), regions_.end(),
                  [](const Known& a, const Known& b) { return a.number < b.number; });
        any_ = true;
    }
    [[nodiscard]] bool any() const noexcept { return any_; }

    struct Known {
        std::uint64_t number;  ///< of its extent
        RegionChecksum region;
    };
    /// Those of the extents [begin, end).
    [[nodiscard]] std::span<const Known> between(std::uint64_t begin, std::uint64_t end) const {
        const auto by_number = [](const Known& known, std::uint64_t number) { return known.number < number; };
        const auto first = std::lower_bound(regions_.begin(), regions_.end(), begin, by_number);
        return {first, std::lower_bound(first, regions_.end(), end, by_number)};
    }
    /// Null: it should be zero.
    [[nodiscard]] const RegionChecksum* of(std::uint64_t number) const {
        const auto found = between(number, number + 1);
        return found.empty() ? nullptr : &found.front().region;
    }

  private:
    std::vector<Known> regions_;
    bool any_ = false;
};

class Search {
  public:
    Search(io::FileSystem& fs, const io::File& file, ArchiveFormat format, const canon::Layout& layout,
           const std::vector<DiskChecksums>* expected, const base::TaskOptions& task)
        : format_(format),
          header_(vma::parse_header(layout.header())),
          layout_(header_),
          expected_(expected, header_, layout_),
          task_(task),
          window_(fs, file, [this] { look_up(); }),
          found_(header_) {
        for (const auto& device : header_.devices) {
            const auto begin = layout_.place(device.id, 0).extent;
            disks_.push_back(
                {device.id, begin,
                 begin + base::divide_up<std::uint64_t>(device.size_bytes, canon::kRegionBytes)});
        }
        std::sort(disks_.begin(), disks_.end(),
                  [](const Extents& a, const Extents& b) { return a.begin < b.begin; });
        if (format == ArchiveFormat::zstd) table_ = codec::read_seek_table(fs, file).table;
    }

    FoundArchive run() {
        if (format_ == ArchiveFormat::raw)
            walk_raw();
        else
            walk_pieces();
        add_gap(layout_.extent_count());
        found_.unreadable_bytes = window_.unreadable_bytes();
        task_.report_end(base::Stage::verifying, window_.size());
        return std::move(found_);
    }

  private:
    void look_up() {
        task_.cancel_flag().check();
        task_.report(base::Stage::verifying, io::SourceProgress{window_.offset(), window_.size()});
    }

    // Frames and members.

    void walk_pieces() {
        codec::PieceDecoder decoder(format_);
        const auto& header = layout_.header();
        auto piece = decoder.take(window_.peek(decoder.bound(header.size())), header.size());
        if (piece.state == State::whole) window_.skip(piece.stored_bytes);
        const auto bound = decoder.bound(canon::kMaxRegionExtent);
        for (auto bytes = window_.peek(bound); !bytes.empty(); bytes = window_.peek(bound)) {
            look_up();
            piece = decoder.take(bytes, canon::kMaxRegionExtent);
            if (piece.state == State::seek_table) return;
            if (piece.state == State::whole)
                take(piece);
            else if (!leads_on(decoder, bytes, piece) && !scan(decoder))
                return;
        }
    }

    void take(const codec::StoredPiece& piece) {
        if (const auto number = identify(piece.content))
            add({*number, window_.offset(), static_cast<std::uint32_t>(piece.stored_bytes),
                 static_cast<std::uint32_t>(piece.content.size()), count_of(piece.content)},
                piece.content);
        window_.skip(piece.stored_bytes);
    }

    /// Passes over a piece that holds nothing, or nothing any more, when another one follows it.
    bool leads_on(const codec::PieceDecoder& decoder, Bytes bytes, const codec::StoredPiece& piece) {
        if (piece.stored_bytes == 0 || piece.stored_bytes > bytes.size()) return false;
        const auto rest = bytes.subspan(piece.stored_bytes);
        if (!rest.empty() && !decoder.may_begin(rest)) return false;
        window_.skip(piece.stored_bytes);
        return true;
    }

    /// Goes to the next piece that is whole. False when there is none.
    bool scan(codec::PieceDecoder& decoder) {
        const auto bound = decoder.bound(canon::kMaxRegionExtent);
        while (to_next_candidate(decoder)) {
            look_up();
            const auto piece = decoder.take(window_.peek(bound), canon::kMaxRegionExtent);
            if (piece.state == State::whole && identify(piece.content)) return true;
        }
        return false;
    }

    bool to_next_candidate(const codec::PieceDecoder& decoder) {
        if (format_ == ArchiveFormat::zstd) {
            const auto from = window_.offset() + 1;
            window_.skip_to(
                std::min(base::round_up<std::uint64_t>(from, codec::kPageBytes), next_entry(from)));
            return !window_.peek(1).empty();
        }
        for (window_.skip(1); !window_.peek(1).empty(); window_.skip(1)) {
            const auto bytes = window_.peek(kScannedBytes);
            const auto* magic = static_cast<const std::byte*>(std::memchr(bytes.data(), 0x1f, bytes.size()));
            if (magic == nullptr) {
                window_.skip(bytes.size() - 1);
                continue;
            }
            window_.skip(static_cast<std::size_t>(magic - bytes.data()));
            if (decoder.may_begin(window_.peek(kMemberStartBytes))) return true;
        }
        return false;
    }

    /// Where the seek table, if any, has a frame, from this byte on.
    std::uint64_t next_entry(std::uint64_t from) {
        if (!table_) return UINT64_MAX;
        while (entry_ < table_->size() && (*table_)[entry_].stored_offset < from) ++entry_;
        return entry_ < table_->size() ? (*table_)[entry_].stored_offset : UINT64_MAX;
    }

    // Raw archives.

    void walk_raw() {
        window_.skip_to(std::min<std::uint64_t>(layout_.header().size(), window_.size()));
        while (next_ < layout_.extent_count()) {
            look_up();
            const auto bytes = extent_at(0, next_);
            if (bytes) {
                const auto content = window_.peek(*bytes);
                if (content.size() < *bytes) return;
                add({next_, window_.offset(), static_cast<std::uint32_t>(*bytes),
                     static_cast<std::uint32_t>(*bytes), 1},
                    content);
                window_.skip(*bytes);
            } else if (!skip_damaged_header() && !scan_raw()) {
                return;
            }
        }
    }

    /// The length of the extent of this number, if its header stands so far behind the present byte.
    std::optional<std::size_t> extent_at(std::size_t ahead, std::uint64_t number) {
        RawExtentHeader header;
        const auto bytes = window_.peek(ahead + header.size());
        if (bytes.size() < ahead + header.size()) return std::nullopt;
        std::memcpy(header.data(), bytes.data() + ahead, header.size());
        return canon::canonical_extent_bytes(header, layout_.plan(number));
    }

    /// Whether the extent of this number follows, or the end where there is none.
    bool goes_on_at(std::size_t ahead, std::uint64_t number) {
        if (number == layout_.extent_count()) return window_.offset() + ahead == window_.size();
        return extent_at(ahead, number).has_value();
    }

    /// Where the length of the extent is known all the same.
    bool skip_damaged_header() {
        const bool has_regions = layout_.plan(next_).cluster_count > 0;
        if (has_regions && !expected_.any()) return false;
        const auto* region = has_regions ? expected_.of(next_) : nullptr;
        const auto bytes = vma::kExtentHeaderSize + (region == nullptr ? 0 : region->content_bytes);
        if (bytes > canon::kMaxRegionExtent || !goes_on_at(bytes, next_ + 1)) return false;
        add_gap(next_ + 1);
        window_.skip(bytes);
        return true;
    }

    /// Goes to the next header of a region. What a guest has stored may look like one: so what follows it
    /// must fit.
    bool scan_raw() {
        constexpr std::uint64_t kTrusted = 8;
        const auto begin = window_.offset();
        for (window_.skip(vma::kSectorSize); !window_.peek(1).empty(); window_.skip(vma::kSectorSize)) {
            const auto bytes = window_.peek(vma::kExtentHeaderSize);
            if (bytes.size() < vma::kExtentHeaderSize || std::memcmp(bytes.data(), "VMAE", 4) != 0) continue;
            look_up();
            const auto number = identify_header(bytes);
            if (!number || *number <= next_ || *number >= layout_.extent_count()) continue;
            const auto extents = *number - next_;
            const auto passed = window_.offset() - begin;
            if (passed % vma::kBlockSize != extents * vma::kExtentHeaderSize % vma::kBlockSize ||
                passed / canon::kMaxRegionExtent > extents)
                continue;
            const auto length = extent_at(0, *number);
            if (length && (extents <= kTrusted || goes_on_at(*length, *number + 1))) {
                add_gap(*number);
                return true;
            }
        }
        return false;
    }

    // What was found.

    static std::uint32_t count_of(Bytes content) {
        return content.size() > codec::kMaxContentWithoutPayload
                   ? 1
                   : static_cast<std::uint32_t>(content.size() / vma::kExtentHeaderSize);
    }

    /// The number of the extent whose header this is; nothing for one that holds no region.
    std::optional<std::uint64_t> identify_header(Bytes bytes) const try {
        const auto extent =
            vma::parse_extent_header(bytes.first<vma::kExtentHeaderSize>(), canon::kCanonicalUuid, 0);
        const auto& slot = extent.slots.front();
        const auto* device = header_.device(slot.device_id);
        if (device == nullptr || slot.cluster >= device->cluster_count()) return std::nullopt;
        return layout_.place(slot.device_id, slot.cluster).extent;
    } catch (const base::FormatError&) {
        return std::nullopt;
    }

    /// The number of the first of these extents, when all of them are what belongs there.
    std::optional<std::uint64_t> identify(Bytes content) const {
        const auto count = count_of(content);
        if (count == 0 || (count > 1 && content.size() % vma::kExtentHeaderSize != 0)) return std::nullopt;
        auto number = next_;
        for (unsigned i = 0; i < count; ++i)
            if (const auto own = identify_header(content.subspan(i * vma::kExtentHeaderSize))) {
                if (*own < i) return std::nullopt;
                number = *own - i;
                break;
            }
        if (number < next_ || count > layout_.extent_count() - std::min(number, layout_.extent_count()))
            return std::nullopt;
        for (unsigned i = 0; i < count; ++i) {
            RawExtentHeader header;
            std::memcpy(header.data(), content.data() + i * header.size(), header.size());
            const auto bytes = count > 1 ? header.size() : content.size();
            if (canon::canonical_extent_bytes(header, layout_.plan(number + i)) != bytes) return std::nullopt;
        }
        return number;
    }

    void add(const FoundExtents& extents, Bytes content) {
        add_gap(extents.number);
        next_ = extents.number + extents.count;
        const auto extent =
            vma::parse_extent_header(content.first<vma::kExtentHeaderSize>(), canon::kCanonicalUuid, 0);
        const auto* payload = content.data() + vma::kExtentHeaderSize;
        if (is_expected(extents, content)) {
            found_.whole.push_back(extents);
            if (extents.bytes > codec::kMaxContentWithoutPayload) found_.sum.add(extent, payload);
            return;
        }
        found_.doubtful.push_back(extents);
        if (extents.bytes > codec::kMaxContentWithoutPayload) found_.doubtful_sum.add(extent, payload);
        for (const auto& known : expected_.between(extents.number, next_)) add_missing(known.number, 1);
        if (extents.bytes > codec::kMaxContentWithoutPayload && expected_.of(extents.number) == nullptr)
            add_missing(extents.number, 1);
    }

    bool is_expected(const FoundExtents& extents, Bytes content) const {
        if (!expected_.any()) return true;
        const auto known = expected_.between(extents.number, extents.number + extents.count);
        if (extents.bytes <= codec::kMaxContentWithoutPayload) return known.empty();
        return !known.empty() &&
               known.front().region.content_bytes + vma::kExtentHeaderSize == content.size() &&
               known.front().region.checksum ==
                   static_cast<std::uint32_t>(::XXH64(content.data(), content.size(), 0));
    }

    /// The extents from next_ to `end` were not found.
    void add_gap(std::uint64_t end) {
        if (next_ >= end) return;
        if (expected_.any())
            for (const auto& known : expected_.between(next_, end)) add_missing(known.number, 1);
        else
            add_missing(next_, end - next_);
        next_ = end;
    }

    /// Extents, those that fill a device up included.
    void add_missing(std::uint64_t first, std::uint64_t count) {
        for (const auto& disk : disks_) {
            const auto from = std::max(first, disk.begin);
            const auto to = std::min(first + count, disk.end);
            if (from < to)
                add_range({disk.device_id, static_cast<std::uint32_t>(from - disk.begin),
                           static_cast<std::uint32_t>(to - from)});
        }
    }
    void add_range(const RegionRange& range) {
        if (!found_.missing.empty())
            if (auto& last = found_.missing.back();
                last.device_id == range.device_id && last.first + last.count == range.first) {
                last.count += range.count;
                return;
            }
        found_.missing.push_back(range);
    }

    /// The regions of a disk.
    struct Extents {
        std::uint8_t device_id;
        std::uint64_t begin;
        std::uint64_t end;
    };

    ArchiveFormat format_;
    vma::Header header_;
    canon::Layout layout_;
    std::vector<Extents> disks_;  ///< in the order of the archive
    Expectation expected_;
    const base::TaskOptions& task_;
    FileWindow window_;
    std::optional<codec::SeekTable> table_;
    std::uint64_t entry_ = 0;  ///< of the table
    std::uint64_t next_ = 0;   ///< extents up to this one were found, or are missing
    FoundArchive found_;
};

}  // namespace

FoundArchive search_extents(io::FileSystem& fs, const io::File& file, ArchiveFormat format,
                            const canon::Layout& layout, const std::vector<DiskChecksums>* expected,
                            const base::TaskOptions& task) {
    if (format == ArchiveFormat::lzo)
        throw base::Unsupported("what stands behind a damaged place of an .lzo cannot be read");
    return Search(fs, file, format, layout, expected, task).run();
}

FoundExtentReader::FoundExtentReader(io::FileSystem& fs, const io::File& file, ArchiveFormat format)
    : fs_(fs),
      file_(file),
      decoder_(format == ArchiveFormat::raw ? nullptr : std::make_unique<codec::PieceDecoder>(format)) {}

std::vector<std::byte> FoundExtentReader::read(const FoundExtents& extents) {
    std::vector<std::byte> stored(extents.stored_bytes);
    if (io::read_fully_at(fs_, file_, stored, extents.stored_offset) == stored.size()) {
        if (!decoder_) return stored;
        auto piece = decoder_->take(stored, extents.bytes);
        if (piece.state == State::whole && piece.content.size() == extents.bytes)
            return std::move(piece.content);
    }
    throw base::Error(fmt::format("{}: damaged at byte {} since it was last read, or changed", file_.path(),
                                  extents.stored_offset));
}

}  // namespace vmad::access
