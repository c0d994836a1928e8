// Logical volumes: what is mapped where, and metadata made to do harm.

#include "guest/lvm.hpp"

#include <cstring>
#include <map>

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/integers.hpp"

using namespace vmad;

namespace {

constexpr std::uint64_t kSector = 512;
constexpr std::uint64_t kExtent = 8 * kSector;
constexpr std::uint64_t kDataStart = 256 * kSector;
constexpr std::uint64_t kAreaStart = 4096;
constexpr std::uint64_t kAreaBytes = 64 << 10;
constexpr std::uint64_t kDiskBytes = kDataStart + 20 * kExtent;
constexpr const char* kIds[] = {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"};

std::string group(const std::string& volumes, int seqno = 1) {
    return fmt::format(R"(vg {{
id = "group"
seqno = {}
status = ["READ", "WRITE"]
extent_size = 8
physical_volumes {{
pv0 {{ id = "aaaaaa-aaaa-aaaa-aaaa-aaaa-aaaa-aaaaaa" pe_start = 256 pe_count = 20 }}
pv1 {{ id = "bbbbbb-bbbb-bbbb-bbbb-bbbb-bbbb-bbbbbb" pe_start = 256 pe_count = 20 }}
}}
logical_volumes {{ {} }}
}}
# behind it
contents = "Text Format Volume Group"
)",
                       seqno, volumes);
}

constexpr const char* kTwoSegments = R"(root {
status = ["READ", "VISIBLE"] # visible
segment_count = 2
segment1 { start_extent = 0 extent_count = 3 type = "striped" stripe_count = 1 stripes = ["pv1", 4] }
segment2 { start_extent = 3 extent_count = 4 type = "striped" stripe_count = 2 stripe_size = 2
stripes = ["pv0", 1,
"pv1", 9] }
})";

/// Two physical volumes; a byte tells where it is by its sector.
struct Disks {
    std::vector<std::vector<std::byte>> content{std::vector<std::byte>(kDiskBytes),
                                                std::vector<std::byte>(kDiskBytes)};
    std::vector<guest::LvmMember> members;

    explicit Disks(const std::string& text, std::uint64_t text_offset = kSector) {
        for (unsigned disk = 0; disk < 2; ++disk) {
            for (std::uint64_t at = kDataStart; at < kDiskBytes; ++at)
                content[disk][at] = static_cast<std::byte>(at / kSector - kDataStart / kSector + disk * 128);
            label(disk);
            set_text(disk, text, text_offset);
            members.push_back({kDiskBytes, [this, disk](std::uint64_t offset, std::span<std::byte> into) {
                                   REQUIRE(offset + into.size() <= kDiskBytes);
                                   std::memcpy(into.data(), &content[disk][offset], into.size());
                               }});
        }
    }

    void put(unsigned disk, std::uint64_t at, std::string_view text) {
        std::memcpy(&content[disk][at], text.data(), text.size());
    }
    void put(unsigned disk, std::uint64_t at, std::uint64_t number) {
        base::store_le(&content[disk][at], number);
    }

    void label(unsigned disk) {
        const auto at = kSector;  // the second sector
        put(disk, at, "LABELONE");
        put(disk, at + 20, std::uint64_t{32});
        put(disk, at + 24, "LVM2 001");
        put(disk, at + 32, kIds[disk]);
        put(disk, at + 64, kDiskBytes);
        put(disk, at + 72, kDataStart);
        put(disk, at + 104, kAreaStart);
        put(disk, at + 112, kAreaBytes);
    }

    /// The area is a ring: a text that begins near its end goes on behind its header.
    void set_text(unsigned disk, const std::string& text, std::uint64_t offset) {
        put(disk, kAreaStart + 4, " LVM2 x[5A%r0N*>");
        put(disk, kAreaStart + 40, offset);
        put(disk, kAreaStart + 48, text.size());
        for (std::size_t i = 0; i < text.size(); ++i) {
            content[disk][kAreaStart + offset] = static_cast<std::byte>(text[i]);
            if (++offset == kAreaBytes) offset = kSector;
        }
    }

    [[nodiscard]] std::vector<guest::LogicalVolume> volumes() const {
        return guest::find_logical_volumes(members);
    }
};

/// Which sectors a volume is made of: those of the second disk from 128 on.
std::vector<unsigned> sectors(const guest::LogicalVolume& volume) {
    std::vector<std::byte> all(volume.bytes);
    volume.read(0, all);
    std::vector<unsigned> found;
    for (std::size_t at = 0; at < all.size(); at += kSector)
        found.push_back(std::to_integer<unsigned>(all[at]));
    return found;
}

std::vector<unsigned> expected_sectors() {
    std::vector<unsigned> found;
    for (unsigned i = 0; i < 24; ++i) found.push_back(128 + 4 * 8 + i);
    for (unsigned stripe = 0; stripe < 16; ++stripe)
        for (unsigned i = 0; i < 2; ++i)
            found.push_back((stripe % 2 == 0 ? 8 : 128 + 72) + stripe / 2 * 2 + i);
    return found;
}

}  // namespace

TEST_CASE("segments are read where they lie, wherever the text is in its ring") {
    const auto text = group(kTwoSegments);
    for (const std::uint64_t offset : {kSector, kAreaBytes - kSector, kAreaBytes - 7}) {
        const Disks disks(text, offset);
        const auto volumes = disks.volumes();
        REQUIRE(volumes.size() == 1);
        CHECK(volumes[0].name == "vg/root");
        CHECK(volumes[0].bytes == 7 * kExtent);
        CHECK(volumes[0].problem == "");
        CHECK(sectors(volumes[0]) == expected_sectors());
    }
}

TEST_CASE("a part of a volume is what the whole has there") {
    const Disks disks(group(kTwoSegments));
    const auto volume = disks.volumes().at(0);
    std::vector<std::byte> all(volume.bytes);
    volume.read(0, all);
    for (std::uint64_t begin = 0; begin < volume.bytes; begin += 700)
        for (const std::uint64_t bytes : {1, 511, 1024, 5000}) {
            std::vector<std::byte> part(std::min(bytes, volume.bytes - begin));
            volume.read(begin, part);
            CHECK(std::memcmp(part.data(), &all[begin], part.size()) == 0);
        }
}

TEST_CASE("the newest metadata counts") {
    Disks disks(group(kTwoSegments, 3));
    disks.set_text(0, group("", 2), kSector);
    CHECK(disks.volumes().size() == 1);
    disks.set_text(0, group("", 4), kSector);
    CHECK(disks.volumes().empty());
}

TEST_CASE("volumes that cannot be read say why") {
    const std::map<std::string, std::string> segments{
        {R"(type = "thin" thin_pool = "pool")", "vmactl cannot read LVM's thin"},
        {R"(type = "striped" stripes = ["pv0", 19])", "it lies behind the end of a physical volume"},
        {R"(type = "striped" stripes = ["pv0", 9000000000000000000])", "the LVM metadata is damaged"},
        {R"(type = "striped" stripes = ["pv2", 0])", "the LVM metadata is damaged"},
        {R"(type = "striped" stripes = [])", "the LVM metadata is damaged"},
        {R"(type = "striped" stripes = "pv0")", "the LVM metadata is damaged"},
        {R"(type = "striped" stripe_size = 0 stripes = ["pv0", 0, "pv1", 0])", "the LVM metadata is damaged"},
        {R"(stripes = ["pv0", 0])", "the LVM metadata is damaged"},
    };
    for (const auto& [segment, problem] : segments) {
        CAPTURE(segment);
        const Disks disks(group(fmt::format(
            R"(lv {{ status = ["VISIBLE"] segment_count = 1 segment1 {{ start_extent = 0 extent_count = 2 {} }} }})",
            segment)));
        const auto volumes = disks.volumes();
        REQUIRE(volumes.size() == 1);
        CHECK(volumes[0].problem == problem);
        CHECK(!volumes[0].read);
    }
    Disks one(group(kTwoSegments));
    one.members.pop_back();
    CHECK(one.volumes().at(0).problem == "one of its physical volumes is missing");
}

TEST_CASE("a hidden volume is part of another one") {
    const Disks disks(group(R"(pool { status = ["READ", "WRITE"] segment_count = 0 })"));
    CHECK(disks.volumes().empty());
}

TEST_CASE("damaged metadata never leads out of the physical volumes") {
    const auto text = group(kTwoSegments);
    for (std::size_t i = 0; i < text.size(); ++i)
        for (const char c : {'\0', '9', '"', '{', '}', '['}) {
            auto damaged = text;
            damaged[i] = c;
            const Disks disks(damaged);
            // The members check what is read.
            for (const auto& volume : disks.volumes())
                if (volume.read) {
                    std::vector<std::byte> all(std::min<std::uint64_t>(volume.bytes, 1 << 20));
                    volume.read(0, all);
                }
        }
}

TEST_CASE("damaged labels and areas never lead out of the physical volumes") {
    for (std::uint64_t at = kSector; at < kSector + 136; ++at)
        for (const unsigned value : {0x00, 0x7f, 0xff}) {
            Disks disks(group(kTwoSegments));
            disks.content[0][at] = static_cast<std::byte>(value);
            disks.content[0][kAreaStart + at % 64] = static_cast<std::byte>(value);
            (void)disks.volumes();
        }
}

TEST_CASE("metadata as an object") {
    CHECK(guest::parse_lvm_metadata("a { b = 1 c = [ \"x\\\"y\", 2, ] } # end\nd = -3 e = 1.5").dump() ==
          R"({"a":{"b":1,"c":["x\"y",2]},"d":-3,"e":"1.5"})");
    for (const char* text :
         {"a", "a =", "a = [", "a = [1", "a {", "a }", "a = \"", "a = \"\\", "= 1", "}", "a = [[1]]", "\x01"})
        CHECK_THROWS_WITH_AS((void)guest::parse_lvm_metadata(text), "the LVM metadata is damaged",
                             base::Error);
    std::string deep;
    for (int i = 0; i < 1000; ++i) deep += "a {";
    CHECK_THROWS_AS((void)guest::parse_lvm_metadata(deep), base::Error);
}
