// Whatever an archive holds, it has no index, or what is read of its disks is right or an error; and memory
// stays bounded.
#include <sys/resource.h>

#include <cstring>

#include <doctest/doctest.h>

#include "access/disk_reader.hpp"
#include "access/raw_view.hpp"
#include "codec/frame_encoder.hpp"
#include "codec/zstd_form.hpp"
#include "support/archive_parts.hpp"
#include "support/damage.hpp"
#include "support/dump.hpp"
#include "support/frame_table.hpp"
#include "support/memory_file.hpp"
#include "support/random.hpp"
#include "support/reference.hpp"

using namespace vmad;
using testing::Bytes;

namespace {

constexpr std::uint64_t kRegion = canon::kRegionBytes;

io::FileSystem& fs() {
    static io::FileSystem real;
    return real;
}

/// What would need more memory than this and what the program has fails, which no test expects. Sanitizers
/// take address space as they like.
class MemoryLimit {
  public:
    MemoryLimit() {
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
        (void)::getrlimit(RLIMIT_AS, &old_);
        auto limit = old_;
        limit.rlim_cur = rlim_t{2} << 30;
        (void)::setrlimit(RLIMIT_AS, &limit);
#endif
    }
    MemoryLimit(const MemoryLimit&) = delete;
    MemoryLimit& operator=(const MemoryLimit&) = delete;
    ~MemoryLimit() {
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
        (void)::setrlimit(RLIMIT_AS, &old_);
#endif
    }

  private:
    struct rlimit old_ {};
};

/// What became of an archive.
struct Outcome {
    bool has_index = false;
    unsigned good = 0;  ///< reads
    unsigned damaged = 0;
};

/// Reads all disks region by region, and compares what can be read. Anything thrown but an error ends the
/// test.
Outcome read_all(testing::View archive, const testing::Contents& contents) {
    Outcome outcome;
    const auto file = testing::memory_file(archive);
    try {
        const auto index = access::ArchiveIndex::read(fs(), file, {});
        outcome.has_index = true;
        access::DiskReader reader(*index, {.memory_bytes = 8 << 20, .read_ahead = 1});
        for (const auto& device : index->header().devices) {
            const auto& disk = contents.disks.at(device.name);
            REQUIRE(disk.size() == device.size_bytes);
            for (std::uint64_t at = 0; at < disk.size(); at += kRegion) {
                Bytes found(std::min<std::uint64_t>(kRegion, disk.size() - at), std::byte{0xaa});
                try {
                    reader.read_at(device.id, at, found);
                    (void)reader.range_at(device.id, at);
                } catch (const access::DamagedRegion&) {
                    ++outcome.damaged;
                    continue;
                }
                ++outcome.good;
                CHECK(std::memcmp(found.data(), disk.data() + at, found.size()) == 0);
            }
        }
    } catch (const base::Error&) {
    }
    return outcome;
}

/// Two disks with regions of all kinds, and zero ones between them.
const testing::Guest& guest() {
    static const auto made = [] {
        auto result = testing::plausible_guest({{"drive-scsi0", (36 << 20) + 512, {.zero_fraction = 1}},
                                                {"drive-efidisk0", 540672, {.seed = 2}}});
        for (const std::uint64_t region : {2, 3, 6, 9, 17})
            result.disks[0].content.changed[region * kRegion / 4096] = region;
        return result;
    }();
    return made;
}

const testing::Contents& contents() {
    static const auto made = testing::contents_of(guest());
    return made;
}

const Bytes& canonical() {
    static const auto made = testing::reference_repack(testing::dump(guest()));
    return made;
}

/// The content of each frame of the canonical archive, the header's first.
std::vector<Bytes> pieces() {
    const testing::ArchiveParts parts(canonical());
    std::vector<Bytes> result{parts.header};
    std::size_t run_group = SIZE_MAX;
    for (std::size_t i = 0; i < parts.extents.size(); ++i) {
        const auto& [head, data] = parts.extents[i];
        if (!data.empty() || run_group != i / 8) result.emplace_back();
        run_group = data.empty() ? i / 8 : SIZE_MAX;
        result.back().insert(result.back().end(), head.begin(), head.end());
        result.back().insert(result.back().end(), data.begin(), data.end());
    }
    return result;
}

/// A zstd archive of these pieces; its table says of a frame what `told` makes of it.
Bytes stored(const std::vector<Bytes>& list,
             const std::function<void(std::size_t, codec::SeekFrame&)>& told = {}) {
    const auto encoder = codec::make_frame_encoder(codec::ArchiveFormat::zstd, 3);
    Bytes file;
    testing::FrameTable table;
    for (std::size_t i = 0; i < list.size(); ++i) {
        const auto begin = file.size();
        const auto slice = io::const_slice(list[i]);
        Bytes frame(encoder->bound(list[i].size()));
        frame.resize(encoder->encode({&slice, 1}, frame));
        file.insert(file.end(), frame.begin(), frame.end());
        if (i + 1 < list.size() && list[i + 1].size() > codec::kMaxContentWithoutPayload) {
            const auto filling = codec::make_filling(codec::filling_bytes(file.size()));
            file.insert(file.end(), filling.begin(), filling.end());
        }
        codec::SeekFrame entry{.stored_bytes = static_cast<std::uint32_t>(file.size() - begin),
                               .bytes = static_cast<std::uint32_t>(list[i].size())};
        if (told) told(i, entry);
        table.add(entry.stored_bytes, entry.bytes);
    }
    const auto encoded = table.encode(1);
    file.insert(file.end(), encoded.begin(), encoded.end());
    return file;
}

/// Reads the raw view of an archive, piece by piece. What can be read is right, unless sizes in the table
/// lie, so that everything stands elsewhere.
void read_view(testing::View archive) {
    const auto file = testing::memory_file(archive);
    const auto view = access::RawView::open(fs(), file, {.memory_bytes = 8 << 20, .read_ahead = 1});
    CHECK((view != nullptr) == access::RawView::size_of(fs(), file).has_value());
    if (!view) return;
    for (std::uint64_t at = 0; at < view->size_bytes(); at += kRegion / 4) {
        Bytes found(std::min<std::uint64_t>(kRegion / 4, view->size_bytes() - at), std::byte{0xaa});
        try {
            view->read_at(at, found);
        } catch (const base::Error&) {
            continue;
        }
        if (view->size_bytes() == canonical().size())
            CHECK(std::memcmp(found.data(), canonical().data() + at, found.size()) == 0);
    }
}

}  // namespace

TEST_SUITE_BEGIN("single-threaded");

TEST_CASE("a damaged raw archive has no index, or one that is right") {
    const MemoryLimit limit;
    const testing::Contents all = testing::extract(testing::undamaged_archive());
    CHECK(read_all(testing::undamaged_archive(), all).has_index);
    for (const auto& damage : testing::damages()) {
        CAPTURE(damage.id);
        CHECK_FALSE(read_all(damage.build().bytes, all).has_index);
    }
}

TEST_CASE("bits flipped in the headers of a raw archive are found") {
    const MemoryLimit limit;
    testing::Random random(1);
    for (const auto& good : {testing::dump(guest()), canonical()}) {
        const testing::ArchiveParts parts(good);
        CHECK(read_all(good, contents()).has_index);
        for (unsigned round = 0; round < 150; ++round) {
            auto bad = good;
            const auto extent = random.below(parts.extents.size() + 1);
            const auto at = extent == parts.extents.size()
                                ? random.below(parts.header.size())
                                : parts.extent_offset(extent) + random.below(vma::kExtentHeaderSize);
            CAPTURE(at);
            bad[at] ^= static_cast<std::byte>(1 << random.below(8));
            CHECK_FALSE(read_all(bad, contents()).has_index);
        }
    }
}

TEST_CASE("bits flipped anywhere in a zstd archive make errors at most, those of content in one group") {
    const MemoryLimit limit;
    const auto good = stored(pieces());
    const auto all = read_all(good, contents());
    CHECK((all.damaged == 0 && all.good == 20));
    const auto table_bytes = 12 * pieces().size() + 17;
    testing::Random random(1);
    for (unsigned round = 0; round < 120; ++round) {
        const bool in_table = round % 2 == 0;
        const auto at = in_table ? good.size() - 1 - random.below(table_bytes) : random.below(good.size());
        CAPTURE(at);
        auto bad = good;
        bad[at] ^= static_cast<std::byte>(1 << random.below(8));
        const auto outcome = read_all(bad, contents());
        read_view(bad);
        if (outcome.has_index && !in_table) CHECK(outcome.damaged <= canon::kExtentsPerGroup);
    }
}

TEST_CASE("an archive that is cut off has no index") {
    const MemoryLimit limit;
    const auto zstd = stored(pieces());
    const auto raw = testing::dump(guest());
    testing::Random random(1);
    for (unsigned round = 0; round < 60; ++round)
        for (const auto* good : {&zstd, &raw, &canonical()})
            CHECK_FALSE(
                read_all(testing::View(*good).first(random.below(good->size())), contents()).has_index);
}

TEST_CASE(
    "frames in another order, missing, or of another region, and tables that lie, never give wrong bytes") {
    const MemoryLimit limit;
    testing::Random random(1);
    const auto good = pieces();
    for (unsigned round = 0; round < 120; ++round) {
        CAPTURE(round);
        auto list = good;
        const auto one = random.below(list.size());
        const auto other = random.below(list.size());
        switch (random.below(5)) {
            case 0:
                std::swap(list[one], list[other]);
                break;
            case 1:
                list[one] = list[other];
                break;
            case 2:
                list.erase(list.begin() + static_cast<std::ptrdiff_t>(one));
                break;
            case 3:
                list.insert(list.begin() + static_cast<std::ptrdiff_t>(one), list[other]);
                break;
            default:
                list[one].resize(random.below(list[one].size() + 1));
                break;
        }
        const auto disordered = stored(list);
        const auto lying = stored(good, [&](std::size_t i, codec::SeekFrame& entry) {
            if (i != one) return;
            auto& field = random.chance(0.7) ? entry.bytes : entry.stored_bytes;
            const std::uint32_t values[] = {0,          512,        4096,         4608,
                                            0x7fffffff, 0xffffffff, field - 4096, field + 4096};
            field = values[random.below(std::size(values))];
        });
        for (const auto* bad : {&disordered, &lying}) {
            (void)read_all(*bad, contents());
            read_view(*bad);
        }
    }
}

TEST_CASE("huge numbers take no memory") {
    const MemoryLimit limit;
    // A header of the largest disks, and hardly anything behind it.
    testing::Guest huge = testing::plausible_guest({});
    for (unsigned i = 0; i < 20; ++i)
        huge.disks.push_back({"drive-x" + std::to_string(i), std::uint64_t{64} << 20, {.zero_fraction = 1}});
    auto parts = testing::ArchiveParts(testing::dump(huge));
    for (std::size_t id = 1; id <= 20; ++id) parts.set_header(4096 + 32 * id + 8, std::uint64_t{1} << 48, 8);
    CHECK_FALSE(read_all(parts.join(), {}).has_index);
    // The same with the canonical uuid and layout of the header, compressed, with frames of 4096 bytes.
    auto list = pieces();
    testing::ArchiveParts canonical_parts(canonical());
    canonical_parts.set_header(4096 + 32 * 5 + 8, std::uint64_t{1} << 48, 8);
    list[0] = canonical_parts.join();
    list[0].resize(canonical_parts.header.size());
    CHECK_FALSE(read_all(stored(list), {}).has_index);
    // A table of more frames than the file could hold, and one of frames without a byte.
    auto file = stored(pieces());
    testing::put_le(&file[file.size() - 9], 4, 0xffffffff);
    CHECK_FALSE(read_all(file, {}).has_index);
    testing::FrameTable empty;
    for (unsigned i = 0; i < 100000; ++i) empty.add(0, i == 0 ? 0xffffffff : 4096);
    CHECK_FALSE(read_all(empty.encode(1), {}).has_index);
    read_view(file);
    read_view(empty.encode(1));
    read_view(stored(list));
}

TEST_SUITE_END();
