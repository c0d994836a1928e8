// What a job says of the backup before: against a plain comparison of what both restore to, and whatever
// stands in the way.
#include "worker/new_since.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include "base/integers.hpp"
#include "base/limits.hpp"
#include "canon/layout.hpp"
#include "codec/archive_format.hpp"
#include "codec/frame_encoder.hpp"
#include "codec/lzop.hpp"
#include "codec/seek_table.hpp"
#include "codec/zstd_form.hpp"
#include "support/archive_index.hpp"
#include "support/dump.hpp"
#include "support/memory_file.hpp"
#include "support/pretended_mount.hpp"
#include "support/random.hpp"
#include "support/reference.hpp"
#include "support/run_outcome.hpp"
#include "support/temporary_directory.hpp"
#include "worker/run_job.hpp"

using namespace vmad;
using codec::ArchiveFormat;
using support::outcome_of;
using testing::Bytes;
namespace outcome = support::outcome;

namespace {

constexpr std::uint64_t kMiB = 1 << 20;
constexpr std::uint64_t kRegion = canon::kRegionBytes;

struct Ending {
    ArchiveFormat format;
    const char* text;
};
constexpr Ending kEndings[] = {{ArchiveFormat::raw, ".vma"},
                               {ArchiveFormat::zstd, ".vma.zst"},
                               {ArchiveFormat::gzip, ".vma.gz"},
                               {ArchiveFormat::lzo, ".vma.lzo"}};

std::string text_of(testing::View bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class TextSink final : public io::ByteSink {
  public:
    void append(std::span<iovec> slices, std::uint64_t) override {
        for (const auto& slice : slices) text.append(static_cast<const char*>(slice.iov_base), slice.iov_len);
    }
    [[nodiscard]] std::uint64_t written_bytes() const noexcept override { return text.size(); }
    std::string text;
};

/// As vzdump stores it: in one piece.
std::string stored_as(ArchiveFormat format, const Bytes& archive) {
    if (format == ArchiveFormat::raw) return text_of(archive);
    iovec slice{const_cast<std::byte*>(archive.data()), archive.size()};
    if (format == ArchiveFormat::lzo) {
        TextSink sink;
        codec::LzopSink lzop(sink, nullptr);
        lzop.append({&slice, 1}, archive.size());
        lzop.finish();
        return sink.text;
    }
    const auto encoder = codec::make_frame_encoder(format, 1);
    Bytes stored(encoder->bound(archive.size()));
    stored.resize(encoder->encode({&slice, 1}, stored));
    return text_of(stored);
}

std::string name_of(int day, const char* ending, int vmid = 100) {
    return fmt::format("vzdump-qemu-{}-2026_01_{:02}-01_02_03{}", vmid, day, ending);
}

/// A state directory, and one of archives.
struct Node {
    support::TemporaryDirectory archives{support::TemporaryDirectory::fast_base()};
    support::TemporaryDirectory state{support::TemporaryDirectory::fast_base()};
    support::PretendedMount fs;
    base::CancelFlag cancel;
    std::vector<std::string> debug;
    std::int64_t grace_period_seconds = 0;

    void put(const std::string& name, const testing::Guest& guest, std::uint64_t seed,
             ArchiveFormat format = ArchiveFormat::raw) const {
        archives.write(name, stored_as(format, testing::dump(guest, testing::random_dump_options(seed))));
    }
    api::WorkerResult run(const std::string& name) {
        api::WorkerOrder order;
        order.job.id = 1;
        order.job.path = archives / name;
        order.job.announced = true;
        order.state_dir = state.path();
        order.threads = 2;
        order.memory_bytes = base::kDefaultMemoryBytes;
        order.zstd_level = 1;
        order.grace_period_seconds = grace_period_seconds;
        debug.clear();
        return worker::run_job(fs, order, cancel,
                               {.record = [](const auto&) {},
                                .progress = [](const auto&) {},
                                .debug = [this](const std::string& line) { debug.push_back(line); }});
    }
    /// Puts it and repacks it.
    api::WorkerResult back_up(const std::string& name, const testing::Guest& guest, std::uint64_t seed,
                              ArchiveFormat format = ArchiveFormat::raw) {
        put(name, guest, seed, format);
        auto result = run(name);
        REQUIRE(outcome_of(result) == outcome::done);
        return result;
    }
    std::optional<api::NewSince> compare(const std::string& name, std::uint64_t may_read_bytes) {
        const access::ChecksumStore store(state / "regions");
        return worker::new_since(fs, archives / name,
                                 {.directories = {}, .store = store, .may_read_bytes = may_read_bytes},
                                 cancel);
    }
    void lose_checksums() const { std::filesystem::remove_all(state / "regions"); }
};

// ---- the plain comparison ----

using Region = std::pair<std::string, std::uint64_t>;  ///< disk and number

/// Bytes in a canonical archive of `format`, by region.
std::map<Region, std::uint64_t> stored_bytes(const Bytes& canonical, ArchiveFormat format) {
    std::map<std::uint8_t, std::string> names;
    for (const auto& [id, device] : testing::ArchiveIndex(canonical).devices) names[id] = device.name;
    std::map<Region, std::uint64_t> result;
    std::vector<std::uint32_t> frames;  // of regions, in their order
    if (format == ArchiveFormat::zstd) {
        io::FileSystem fs;
        const auto file = testing::memory_file(testing::reference_zstd(canonical, 1));
        auto table = codec::read_seek_table(fs, file).table.value();
        for (std::uint64_t i = 1; i < table.size(); ++i)
            if (table[i].bytes > codec::kMaxContentWithoutPayload) frames.push_back(table[i].stored_bytes);
    }
    std::size_t count = 0;
    for (std::size_t at = base::load_be<std::uint32_t>(&canonical[56]); at < canonical.size();) {
        const auto size = 512 + std::size_t{4096} * base::load_be<std::uint16_t>(&canonical[at + 6]);
        if (size > 512) {
            const auto id = std::to_integer<std::uint8_t>(canonical[at + 43]);
            auto& bytes = result[{names[id], base::load_be<std::uint32_t>(&canonical[at + 44]) / 32}];
            if (format == ArchiveFormat::raw) bytes = size;
            if (format == ArchiveFormat::lzo) bytes = size - 512;  // shares of the file: see below
            if (format == ArchiveFormat::zstd) bytes = frames.at(count);
            if (format == ArchiveFormat::gzip) {
                const auto encoder = codec::make_frame_encoder(format, 1);
                Bytes member(encoder->bound(size));
                const iovec slice{const_cast<std::byte*>(&canonical[at]), size};
                bytes = encoder->encode({&slice, 1}, member);
            }
            ++count;
        }
        at += size;
    }
    return result;
}

Bytes region_of(const testing::Contents& contents, const std::string& disk, std::uint64_t region) {
    const auto found = contents.disks.find(disk);
    if (found == contents.disks.end()) return {};
    const auto begin = std::min<std::uint64_t>(region * kRegion, found->second.size());
    const auto end = std::min<std::uint64_t>(begin + kRegion, found->second.size());
    return {found->second.begin() + begin, found->second.begin() + end};
}

bool is_zero(const Bytes& bytes) {
    return std::all_of(bytes.begin(), bytes.end(), [](std::byte byte) { return byte == std::byte{0}; });
}

/// By disk. What an archive of `format` has for regions whose content is not what it was.
std::map<std::string, std::uint64_t> plain_new_bytes(const testing::Guest& before,
                                                     const testing::Guest& after, ArchiveFormat format) {
    const auto old = testing::contents_of(before);
    const auto now = testing::contents_of(after);
    const auto stored = stored_bytes(testing::reference_repack(testing::dump(after)), format);
    std::map<std::string, std::uint64_t> result;
    for (const auto& [disk, bytes] : now.disks) {
        result[disk] = 0;
        for (std::uint64_t region = 0; region * kRegion < bytes.size(); ++region) {
            const auto is = region_of(now, disk, region);
            if (!is_zero(is) && is != region_of(old, disk, region)) result[disk] += stored.at({disk, region});
        }
    }
    return result;
}

/// Some days later: other blocks, disks that have grown, are gone, or are new.
testing::Guest later(testing::Guest guest, std::uint64_t seed) {
    testing::Random random(seed);
    testing::change_blocks(guest, random.below(6), seed);
    for (auto& disk : guest.disks)
        if (random.chance(0.3)) disk.size_bytes += (1 + random.below(9000)) * 512;
    if (random.chance(0.3)) guest.disks.erase(guest.disks.begin());
    if (random.chance(0.3)) {
        testing::Disk disk{.name = "drive-virtio7", .size_bytes = 5 * kMiB};
        disk.content.seed = seed;
        guest.disks.push_back(disk);
    }
    return guest;
}

testing::Guest some_guest(std::uint64_t seed) {
    return testing::plausible_guest({{"drive-efidisk0", 540672, {.seed = seed}},
                                     {"drive-scsi0", 11 * kMiB + 512, {.seed = seed + 1}},
                                     {"drive-scsi1", 6 * kMiB, {.seed = seed + 2, .zero_fraction = 0.9}}});
}

/// With a partition table, and ext4 in its first partition.
testing::Guest partitioned_guest(std::uint64_t seed) {
    auto guest = testing::plausible_guest({{"drive-scsi0", 64 * kMiB, {.seed = seed, .zero_fraction = 0.8}}});
    auto& content = guest.disks[0].content;
    Bytes table(512);
    table[510] = std::byte{0x55};
    table[511] = std::byte{0xaa};
    const auto entry = [&](std::size_t number, unsigned type, std::uint32_t start, std::uint32_t count) {
        const auto at = 446 + 16 * number;
        table[at + 4] = std::byte(type);
        base::store_le(&table[at + 8], start);
        base::store_le(&table[at + 12], count);
    };
    entry(0, 0x83, 2048, 30 * 2048);
    entry(1, 0x83, 32 * 2048, 16 * 2048);
    content.patches[0] = table;
    Bytes super(2048);
    base::store_le<std::uint16_t>(&super[1024 + 0x38], 0xef53);
    base::store_le<std::uint32_t>(&super[1024 + 0x4c], 1);
    base::store_le<std::uint32_t>(&super[1024 + 0x5c], 4);
    base::store_le<std::uint32_t>(&super[1024 + 0x60], 0x40);
    content.patches[256] = super;
    for (std::uint64_t block = 32 * 256; block < 32 * 256 + 2; ++block) content.changed[block] = 0;
    return guest;
}

}  // namespace

TEST_CASE(
    "law: new bytes are those of the regions whose content is not what it was, in all pairs of formats") {
    std::uint64_t seed = 1;
    for (const auto& old_ending : kEndings)
        for (const auto& ending : kEndings) {
            const int rounds = old_ending.format == ending.format ? 2 : 1;
            for (int round = 0; round < rounds; ++round) {
                CAPTURE(++seed);
                Node node;
                const auto before = some_guest(seed);
                const auto after = later(before, seed);
                const auto first = node.back_up(name_of(3, old_ending.text), before, seed, old_ending.format);
                CHECK_FALSE(first.since);
                const auto second = node.back_up(name_of(4, ending.text), after, seed + 100, ending.format);
                REQUIRE(second.since);
                CHECK(node.debug.empty());
                CHECK(second.since->archive == name_of(3, old_ending.text));
                const auto expected = plain_new_bytes(before, after, ending.format);
                double share = 1;
                if (ending.format == ArchiveFormat::lzo) {
                    std::uint64_t content = 0;
                    for (const auto& [region, bytes] :
                         stored_bytes(testing::reference_repack(testing::dump(after)), ArchiveFormat::lzo))
                        content += bytes;
                    share =
                        std::min(1.0, static_cast<double>(*second.size_after) / static_cast<double>(content));
                }
                std::uint64_t sum = 0;
                REQUIRE(second.since->disks.size() == expected.size());
                for (const auto& disk : second.since->disks) {
                    CAPTURE(disk.disk);
                    const auto wanted = static_cast<double>(expected.at(disk.disk)) * share;
                    CHECK(std::abs(static_cast<double>(disk.new_bytes) - wanted) <= (share < 1 ? 16 : 0));
                    CHECK(disk.largest.has_value() == (disk.new_bytes > 0));
                    if (disk.largest) {
                        CHECK(disk.largest->new_bytes <= disk.new_bytes);
                        CHECK(disk.largest->offset % kRegion == 0);
                        CHECK(disk.largest->offset + disk.largest->bytes <= disk.bytes);
                    }
                    sum += disk.new_bytes;
                }
                CHECK(second.since->new_bytes == sum);
                CHECK(second.since->new_bytes <= second.size_after);
                // The next run finds the archive canonical, and says the same but for the partitions.
                const auto again = node.run(name_of(4, ending.text));
                CHECK(outcome_of(again) == outcome::unchanged);
                REQUIRE(again.since);
                CHECK(again.since->new_bytes == sum);
            }
        }
}

TEST_CASE("the largest stretch is the one that most new bytes come from, and its partition is named") {
    for (const auto& ending : kEndings) {
        CAPTURE(ending.text);
        Node node;
        auto guest = partitioned_guest(5);
        node.back_up(name_of(3, ending.text), guest, 1, ending.format);
        auto& changed = guest.disks[0].content.changed;
        changed[300] = 77;                                                       // in the first region
        for (std::uint64_t i = 0; i < 400; ++i) changed[33 * 256 + i] = 88 + i;  // in the second partition
        changed[38 * 256] = 99;                                                  // a neighbour
        changed[63 * 256] = 66;  // none, and outside of partitions
        const auto result = node.back_up(name_of(4, ending.text), guest, 2, ending.format);
        REQUIRE(result.since);
        REQUIRE(result.since->disks.size() == 1);
        const auto largest = result.since->disks[0].largest.value();
        CHECK(largest.offset == 32 * kMiB);
        CHECK(largest.bytes == 8 * kMiB);
        const bool can_be_read = ending.format == ArchiveFormat::raw || ending.format == ArchiveFormat::zstd;
        CHECK(largest.partition == (can_be_read ? "2 (Linux)" : ""));
        guest.disks[0].content.changed[300] = 78;
        const auto next = node.back_up(name_of(5, ending.text), guest, 3, ending.format);
        CHECK(next.since->disks[0].largest->offset == 0);
        CHECK(next.since->disks[0].largest->partition == (can_be_read ? "1 (ext4)" : ""));
    }
}

TEST_CASE("it is compared with the newest earlier backup of the guest that is canonical") {
    Node node;
    const auto guest = some_guest(1);
    node.back_up(name_of(3, ".vma"), guest, 1);
    node.back_up(name_of(9, ".vma.zst"), guest, 2, ArchiveFormat::zstd);
    node.back_up(name_of(4, ".vma", 101), guest, 3);
    // Names of backups, and no archives that could count.
    node.put(name_of(4, ".vma"), guest, 4);
    node.put(name_of(4, ".vma.zst"), guest, 5, ArchiveFormat::zstd);
    node.put(name_of(4, ".vma.gz"), guest, 6, ArchiveFormat::gzip);
    node.archives.write(name_of(5, ".vma"), "VMA");
    node.archives.write(name_of(5, ".vma.zst"), "");
    node.archives.write(name_of(5, ".vma.gz"), "\x1f\x8b");
    std::filesystem::create_directory(node.archives / name_of(6, ".vma"));
    std::filesystem::create_symlink(node.archives / name_of(9, ".vma.zst"),
                                    node.archives / name_of(6, ".vma.zst"));
    REQUIRE(::mkfifo((node.archives / name_of(6, ".vma.gz")).c_str(), 0600) == 0);
    const auto result = node.back_up(name_of(8, ".vma"), guest, 7);
    REQUIRE(result.since);
    CHECK(result.since->archive == name_of(3, ".vma"));
    CHECK(result.since->new_bytes == 0);
    CHECK(node.debug.empty());
}

TEST_CASE("archives without the name of a backup have none before them") {
    Node node;
    node.back_up(name_of(3, ".vma"), some_guest(1), 1);
    CHECK_FALSE(node.back_up("disk.vma", some_guest(1), 2).since);
    CHECK(node.debug.empty());
}

TEST_CASE("lost checksums of a raw backup are found again by reading it, when that is little to read") {
    Node node;
    const auto guest = some_guest(1);
    node.back_up(name_of(3, ".vma"), guest, 1);
    node.back_up(name_of(4, ".vma"), guest, 2);
    const auto size = std::filesystem::file_size(node.archives / name_of(3, ".vma"));
    std::filesystem::remove_all(node.state / "regions");
    CHECK_FALSE(node.run(name_of(4, ".vma")).since);  // unchanged: nothing is read
    const auto next = node.back_up(name_of(5, ".vma"), guest, 3);
    REQUIRE(next.since);
    CHECK(next.since->archive == name_of(4, ".vma"));
    CHECK_FALSE(node.compare(name_of(4, ".vma"), size - 1));  // that of day 3 is still lost
    CHECK(node.run(name_of(5, ".vma")).since);
    // Those of the archive itself are not sought.
    node.back_up(name_of(6, ".vma.gz"), guest, 4, ArchiveFormat::gzip);
    node.lose_checksums();
    CHECK_FALSE(node.compare(name_of(6, ".vma.gz"), UINT64_MAX));
    CHECK_FALSE(node.compare(name_of(5, ".vma"), UINT64_MAX));
}

TEST_CASE("in the grace period, and after it, the same is said") {
    Node node;
    node.fs.pretend(node.archives.path(), "nfs4");
    node.grace_period_seconds = 900;
    const auto before = some_guest(1);
    const auto after = later(before, 7);
    node.put(name_of(3, ".vma"), before, 1);
    CHECK(outcome_of(node.run(name_of(3, ".vma"))) == outcome::in_grace_period);
    node.put(name_of(4, ".vma"), after, 2);
    const auto result = node.run(name_of(4, ".vma"));
    CHECK(outcome_of(result) == outcome::in_grace_period);
    REQUIRE(result.since);
    std::uint64_t sum = 0;
    for (const auto& [disk, bytes] : plain_new_bytes(before, after, ArchiveFormat::raw)) sum += bytes;
    CHECK(result.since->new_bytes == sum);
}

TEST_CASE("a seek table that lies makes the figure wrong, and nothing else") {
    Node node;
    const auto guest = some_guest(1);
    node.back_up(name_of(3, ".vma.zst"), guest, 1, ArchiveFormat::zstd);
    node.back_up(name_of(4, ".vma.zst"), guest, 2, ArchiveFormat::zstd);
    const auto whole = node.archives.read(name_of(3, ".vma.zst"));
    const auto table =
        codec::read_seek_table(node.fs, node.fs.open(node.archives / name_of(3, ".vma.zst"), O_RDONLY))
                .table->size() *
            12 +
        17;
    testing::Random random(3);
    for (int i = 0; i < 300; ++i) {
        auto damaged = whole;
        const auto at = whole.size() - 1 - random.below(table);
        damaged[at] ^= static_cast<char>(1 + random.below(255));
        node.archives.write(name_of(3, ".vma.zst"), damaged);
        const auto size = std::filesystem::file_size(node.archives / name_of(4, ".vma.zst"));
        const auto since = node.compare(name_of(4, ".vma.zst"), 0);
        if (since) CHECK(since->new_bytes <= size);
        CHECK_NOTHROW((void)node.compare(name_of(3, ".vma.zst"), 0));
    }
}

TEST_CASE("whatever fails in the comparison, the job is done, and a line of the log says why") {
    Node node;
    const auto guest = some_guest(1);
    node.back_up(name_of(3, ".vma"), guest, 1);
    node.put(name_of(4, ".vma"), guest, 2);
    bool failed = false;
    node.fs.before = [&](const support::Call& call) {
        if (call.path.find("2026_01_03") == call.path.npos) return;
        failed = true;
        support::FaultFileSystem::fail(EIO, call);
    };
    const auto result = node.run(name_of(4, ".vma"));
    CHECK(failed);
    CHECK(outcome_of(result) == outcome::done);
    CHECK_FALSE(result.since);
    REQUIRE(node.debug.size() == 1);
    CHECK(node.debug[0].starts_with("what is new since the backup before was not found out: "));
    node.fs.before = [&](const support::Call& call) {
        if (call.path.find("2026_01_03") != call.path.npos) node.cancel.request();
    };
    const auto stopped = node.run(name_of(4, ".vma"));
    CHECK(outcome_of(stopped) == outcome::unchanged);
}
