// What a survey warns of: archives that are valid, but that Proxmox's own reader refuses.
#include "verify/survey.hpp"

#include <bit>

#include <doctest/doctest.h>

#include "base/error.hpp"
#include "engine/engine_run.hpp"
#include "support/archive_parts.hpp"
#include "support/dump.hpp"

using namespace vmad;

namespace {

testing::Guest guest_with(const std::string& disk) {
    testing::Content dense;
    dense.zero_fraction = 0;
    return testing::plausible_guest({{disk, 540672, dense}});
}

/// The last cluster of the disk has four blocks: stores others behind them, up to `mask`.
testing::Bytes with_blocks_beyond_end(std::uint16_t mask) {
    testing::ArchiveParts parts(testing::dump(guest_with("drive-efidisk0")));
    for (std::size_t extent = 0; extent < parts.extents.size(); ++extent) {
        auto& data = parts.extents[extent].data;
        std::size_t end = 0;
        for (std::size_t index = 0; index < 59; ++index) {
            auto slot = parts.slot(extent, index);
            end += static_cast<std::size_t>(std::popcount(slot.mask)) * testing::kBlockBytes;
            if (slot.device == 0 || slot.cluster != 8) continue;
            const auto more = static_cast<std::size_t>(std::popcount(mask) - std::popcount(slot.mask));
            data.insert(data.begin() + static_cast<std::ptrdiff_t>(end), more * testing::kBlockBytes,
                        std::byte{1});
            slot.mask = mask;
            parts.set_slot(extent, index, slot);
            testing::put_be(&parts.extents[extent].head[testing::extent_at::kBlockCount], 2,
                            data.size() / testing::kBlockBytes);
            return parts.join();
        }
    }
    FAIL("the disk has no last cluster");
    return {};
}

}  // namespace

TEST_CASE("blocks behind the end of a disk are warned of where Proxmox refuses them") {
    CHECK(testing::survey_of(testing::dump(guest_with("drive-efidisk0"))).warning.empty());
    for (const auto mask : {std::uint16_t{0x001f}, std::uint16_t{0x7fff}}) {
        const auto survey = testing::survey_of(with_blocks_beyond_end(mask));
        CHECK(survey.warning ==
              "blocks are stored behind the end of drive-efidisk0: Proxmox VE cannot restore it "
              "until it is repacked");
    }
    // A whole cluster it cuts at the end.
    CHECK(testing::survey_of(with_blocks_beyond_end(0xffff)).warning.empty());
}

TEST_CASE("names that no restore can pass on are warned of") {
    for (const char* name : {"drive scsi0", "drive:scsi0", "a=b", "a/b", "tab\t"}) {
        const auto survey = testing::survey_of(testing::dump(guest_with(name)));
        CHECK(survey.warning ==
              "Proxmox VE cannot restore it: the disk has the name \"" + std::string(name) + "\"");
    }
    for (const char* name : {"a/b", ".", ".."}) {
        auto guest = guest_with("drive-scsi0");
        guest.configs.front().name = name;
        CHECK(testing::survey_of(testing::dump(guest)).warning ==
              "Proxmox VE cannot restore it: the config has the name \"" + std::string(name) + "\"");
    }
}

TEST_CASE("an error names the disks that could not be read to their end") {
    testing::Content dense;
    dense.zero_fraction = 0;
    const auto archive = testing::dump(
        testing::plausible_guest({{"drive-scsi0", 5 << 20, dense}, {"drive-scsi1", 5 << 20, dense}}));
    testing::ArchiveParts parts(archive);
    auto damaged = archive;
    damaged[parts.extent_offset(parts.extents.size() - 1) + 100] ^= std::byte{1};
    try {
        (void)testing::survey_of(damaged);
        FAIL("no error");
    } catch (const base::FormatError& error) {
        CHECK(error.rule() == "extent-md5");
        // The last one of a dump is the first by name.
        CHECK(std::string(error.what()).ends_with("; not read to the end: drive-scsi0"));
    }
}
