#include "canon/layout.hpp"

#include <set>

#include <doctest/doctest.h>

#include "support/dump.hpp"
#include "support/reference.hpp"
#include "vma/header.hpp"

using namespace vmad;
using namespace vmad::canon;

namespace {

vma::Header header_of(const testing::Bytes& archive) {
    const std::span<const std::byte> bytes(archive);
    return vma::parse_header(bytes.first(vma::parse_header_size(bytes.first<vma::kFixedHeaderSize>())));
}

}  // namespace

TEST_CASE("stable ids are those of the reference") {
    CHECK(stable_ids({}).empty());
    std::vector<testing::Guest> guests{testing::crowded_guest(1), testing::crowded_guest(2)};
    for (std::uint64_t seed = 0; seed < 200; ++seed) guests.push_back(testing::random_guest(seed));
    for (const auto& guest : guests) {
        std::vector<std::string> names;
        for (const auto& disk : guest.disks) names.push_back(disk.name);
        CHECK(stable_ids(names) == testing::reference_ids(names));
    }
}

TEST_CASE("every disk that Proxmox knows has its own fixed id, 1 to 60, alone or among others") {
    std::vector<std::string> names;
    for (const auto& [bus, count] :
         {std::pair{"ide", 4}, {"scsi", 31}, {"virtio", 16}, {"sata", 6}, {"efidisk", 1}, {"tpmstate", 1}})
        for (int i = 0; i < count; ++i) names.push_back("drive-" + std::string(bus) + std::to_string(i));
    names.push_back("drive-tpmstate0-backup");
    const auto all = stable_ids(names);
    for (std::size_t i = 0; i < names.size(); ++i) {
        CHECK(all.at(names[i]) == i + 1);
        CHECK(stable_ids({names[i], "drive-other"}).at(names[i]) == i + 1);
    }
}

TEST_CASE("the header is the reference's, byte for byte") {
    for (std::uint64_t seed = 0; seed < 60; ++seed) {
        CAPTURE(seed);
        const auto archive = testing::dump(testing::random_guest(seed), testing::random_dump_options(seed));
        const auto canonical = testing::reference_repack(archive);
        const Layout layout(header_of(archive));
        REQUIRE(canonical.size() >= layout.header().size());
        CHECK(std::equal(layout.header().begin(), layout.header().end(), canonical.begin()));
    }
}

TEST_CASE("plan and place agree: every cluster has one place, and every place one cluster") {
    for (std::uint64_t seed = 0; seed < 60; ++seed) {
        const auto header = header_of(testing::dump(testing::random_guest(seed)));
        const Layout layout(header);
        std::uint64_t places = 0;
        for (std::uint64_t extent = 0; extent < layout.extent_count(); ++extent)
            places += layout.plan(extent).cluster_count;
        std::set<std::pair<std::uint64_t, unsigned>> taken;
        for (const auto& device : header.devices) {
            for (std::uint64_t cluster = 0; cluster < device.cluster_count(); ++cluster) {
                const auto place = layout.place(device.id, static_cast<std::uint32_t>(cluster));
                const auto plan = layout.plan(place.extent);
                CHECK(plan.device_size_bytes == device.size_bytes);
                CHECK(plan.first_cluster + place.slot == cluster);
                CHECK(place.slot < plan.cluster_count);
                taken.emplace(place.extent, place.slot);
            }
        }
        CHECK(taken.size() == places);
    }
}

TEST_CASE("a disk of the largest size is laid out without reading it") {
    vma::Header header;
    header.devices = {{1, "drive-scsi0", vma::kMaxDeviceSize}};
    const Layout layout(header);
    const auto last = layout.plan(layout.extent_count() - 1);
    CHECK(std::uint64_t{last.first_cluster} + last.cluster_count == std::uint64_t{1} << 32);
    CHECK(layout.place(1, UINT32_MAX).extent == layout.extent_count() - 1);
}
