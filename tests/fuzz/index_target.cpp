// Law: of an archive, raw or zstd, canonical or not, whose frames and seek table may lie, single regions read
// the same as the archive does as a whole, or are an error. No raw archive has an index that the reference
// refuses. The raw view of a zstd archive holds what libzstd makes of it, or errors.
#include "access/disk_reader.hpp"
#include "access/raw_view.hpp"
#include "codec/zstd_form.hpp"
#include "compact_archive.hpp"
#include "streams.hpp"
#include "support/archive_index.hpp"
#include "support/archive_parts.hpp"
#include "support/frame_table.hpp"
#include "support/memory_file.hpp"
#include "support/reference.hpp"

namespace vmad::fuzz {
namespace {

constexpr std::size_t kRegion = canon::kRegionBytes;

/// The header, then an extent with payload each, or those of a group without: what a canonical zstd archive
/// has in one frame each. `archive` is valid.
std::vector<Bytes> pieces_of(View archive) {
    const testing::ArchiveParts parts(archive);
    std::vector<Bytes> result{parts.header};
    std::size_t group = SIZE_MAX;
    for (std::size_t i = 0; i < parts.extents.size(); ++i) {
        const auto& [head, data] = parts.extents[i];
        if (!data.empty() || group != i / canon::kExtentsPerGroup) result.emplace_back();
        group = data.empty() ? i / canon::kExtentsPerGroup : SIZE_MAX;
        append(result.back(), head);
        append(result.back(), data);
    }
    return result;
}

void disorder(std::vector<Bytes>& pieces, Input& input) {
    const auto one = input.below(pieces.size());
    const auto other = input.below(pieces.size());
    switch (input.below(6)) {
        case 0:
            std::swap(pieces[one], pieces[other]);
            break;
        case 1:
            pieces[one] = pieces[other];
            break;
        case 2:
            pieces.erase(pieces.begin() + static_cast<std::ptrdiff_t>(one));
            break;
        case 3:
            pieces.insert(pieces.begin() + static_cast<std::ptrdiff_t>(one), Bytes(pieces[other]));
            break;
        case 4:
            pieces[one].resize(input.below(pieces[one].size() + 1));
            break;
        default:
            if (!pieces[one].empty()) pieces[one][input.below(pieces[one].size())] ^= std::byte{input.take()};
    }
    if (pieces.empty()) pieces.emplace_back();
}

Bytes store(const std::vector<Bytes>& pieces, Input& input) {
    const auto liar = input.below(2 * pieces.size());
    Bytes file;
    testing::FrameTable table;
    for (std::size_t i = 0; i < pieces.size(); ++i) {
        const auto begin = file.size();
        append(file, frame_of(codec::ArchiveFormat::zstd, pieces[i]));
        if (i + 1 < pieces.size() && pieces[i + 1].size() > codec::kMaxContentWithoutPayload)
            append(file, codec::make_filling(codec::filling_bytes(file.size())));
        auto stored_bytes = static_cast<std::uint32_t>(file.size() - begin);
        auto bytes = static_cast<std::uint32_t>(pieces[i].size());
        if (i == liar) (input.flag() ? bytes : stored_bytes) += input.take<std::uint32_t>();
        table.add(stored_bytes, bytes);
    }
    append(file, table.encode(1));
    return file;
}

/// A byte more or less anywhere.
void damage(Bytes& bytes, Input& input) {
    for (auto count = input.below(4); count > 0 && !bytes.empty(); --count)
        bytes[input.below(bytes.size())] ^= std::byte{input.take()};
}

/// So many bytes, in memory of just this size, but no fresh one for each region: that takes longest.
void prepare(Bytes& found, std::uint64_t size) {
    if (found.size() != size) found = Bytes(size);
    std::fill(found.begin(), found.end(), std::byte{0xaa});
}

void read_disks(View stored, const std::optional<testing::Contents>& expected, bool is_raw) {
    io::FileSystem fs;
    const auto file = testing::memory_file(stored);
    static Bytes found;
    try {
        const auto index = access::ArchiveIndex::read(fs, file, {});
        require(expected || !is_raw, "a raw archive that the reference refuses has no index");
        access::DiskReader reader(*index, {.memory_bytes = 8 << 20, .read_ahead = 1});
        for (const auto& device : index->header().devices) {
            const auto bytes = std::min<std::uint64_t>(device.size_bytes, 6 * kRegion);
            for (std::uint64_t at = 0; at < bytes; at += kRegion) {
                prepare(found, std::min<std::uint64_t>(kRegion, bytes - at));
                try {
                    reader.read_at(device.id, at, found);
                    const auto range = reader.range_at(device.id, at);
                    require(range.offset == at && range.bytes > 0 && at + range.bytes <= device.size_bytes,
                            "ranges lie on the disk");
                } catch (const access::DamagedRegion&) {
                    require(!is_raw, "a raw archive has no region without a valid header");
                    continue;
                }
                if (!expected) continue;
                const auto& disk = expected->disks.at(device.name);
                require(disk.size() == device.size_bytes, "disks have the size that the reference says");
                require(std::memcmp(found.data(), disk.data() + at, found.size()) == 0,
                        "regions are what the archive holds");
            }
        }
    } catch (const base::Error&) {
    }
}

void read_view(View stored) {
    io::FileSystem fs;
    const auto file = testing::memory_file(stored);
    const auto view = access::RawView::open(fs, file, {.memory_bytes = 8 << 20, .read_ahead = 1});
    const auto size = access::RawView::size_of(fs, file);
    require((view != nullptr) == size.has_value() && (!view || view->size_bytes() == *size),
            "a view has the size that is told without opening it");
    if (!view) return;
    const auto is_raw = codec::format_of_file(fs, file) == codec::ArchiveFormat::raw;
    static Bytes found;
    const auto expected = is_raw ? std::optional(Bytes(stored.begin(), stored.end())) : stock_unzstd(stored);
    for (std::uint64_t at = 0; at < std::min<std::uint64_t>(view->size_bytes(), kMaxContent);
         at += kRegion / 2) {
        prepare(found, std::min<std::uint64_t>(kRegion / 2, view->size_bytes() - at));
        try {
            view->read_at(at, found);
        } catch (const base::Error&) {
            continue;
        }
        if (expected && expected->size() == view->size_bytes())
            require(std::memcmp(found.data(), expected->data() + at, found.size()) == 0,
                    "the view is the archive");
    }
}

std::optional<testing::Contents> contents_of(View archive) {
    try {
        return testing::extract(archive);
    } catch (const testing::Refused&) {
        return std::nullopt;
    }
}

/// The reference makes it canonical, if it is valid.
Bytes canonical(View archive) {
    try {
        return testing::reference_repack(archive);
    } catch (const testing::Refused&) {
        return {archive.begin(), archive.end()};
    }
}

void run(View bytes) {
    Input input(bytes);
    const auto kind = input.below(4);
    const auto instructions = input.bytes(24);
    Input choices(instructions);
    Bytes archive = expand(input.rest());
    if (kind % 2 == 1) archive = canonical(archive);
    if (kind < 2) {
        damage(archive, choices);
        read_disks(archive, contents_of(archive), true);
        read_view(archive);
        return;
    }
    // Disorder begins with something in order.
    auto pieces = contents_of(archive) ? pieces_of(archive) : std::vector<Bytes>{archive};
    for (auto count = choices.below(3); count > 0; --count) disorder(pieces, choices);
    auto stored = store(pieces, choices);
    damage(stored, choices);
    try {
        const auto content = stock_unzstd(stored);
        read_disks(stored, content ? contents_of(*content) : std::nullopt, false);
        read_view(stored);
    } catch (const Undecided&) {
    }
}

std::vector<Bytes> seeds() {
    std::vector<Bytes> result;
    unsigned number = 0;
    for (const auto& archive : compact_seeds())
        for (unsigned kind = 0; kind < 4; ++kind) {
            Bytes seed(25);
            seed[0] = std::byte(kind);
            seed[1] = std::byte(++number % 3);
            append(seed, archive);
            result.push_back(std::move(seed));
        }
    return result;
}

const Registration registration({"index", 8, run, seeds});

}  // namespace
}  // namespace vmad::fuzz
