// Law: an archive is read exactly when the reference reads it, and holds the same then: headers, configs,
// devices, clusters and digest. A header that is read is the same after it was written and read once more.
#include "canon/digest.hpp"
#include "compact_archive.hpp"
#include "support/archive_index.hpp"
#include "support/memory_file.hpp"
#include "support/reference.hpp"
#include "vma/archive_reader.hpp"
#include "vma/header.hpp"

namespace vmad::fuzz {
namespace {

std::optional<testing::ArchiveIndex> reference(View archive) {
    try {
        return testing::ArchiveIndex(archive);
    } catch (const testing::Refused&) {
        return std::nullopt;
    }
}

void compare_headers(const vma::Header& header, const testing::ArchiveIndex& expected) {
    require(header.ctime == expected.ctime, "ctime is the reference's");
    require(header.configs.size() == expected.configs.size(), "as many configs");
    for (std::size_t i = 0; i < header.configs.size(); ++i) {
        require(header.configs[i].name == expected.configs[i].first, "config names are the reference's");
        require(bytes_of(header.configs[i].data) ==
                    Bytes(expected.configs[i].second.begin(), expected.configs[i].second.end()),
                "configs are the reference's");
    }
    require(header.devices.size() == expected.devices.size(), "as many devices");
    for (const auto& device : header.devices) {
        const auto& other = expected.devices.at(device.id);
        require(device.name == other.name && device.size_bytes == other.size_bytes,
                "devices are the reference's");
    }
}

void compare_again(const vma::Header& header) {
    const auto again = vma::parse_header(vma::encode_header(header, vma::kSectorSize));
    require(again.uuid == header.uuid && again.ctime == header.ctime && again.configs == header.configs &&
                again.devices == header.devices,
            "a header that is written and read again is the same");
}

void compare_extent(const vma::Extent& extent, const testing::ArchiveIndex& expected) {
    const auto* block = extent.payload->data();
    for (const auto& slot : extent.header.slots) {
        if (slot.device_id == 0) continue;
        const auto& cluster = expected.clusters.at({slot.device_id, slot.cluster});
        for (unsigned n = 0; n < vma::kBlocksPerCluster; ++n) {
            const bool is_stored = (slot.mask >> n & 1) != 0;
            require(is_stored == !cluster[n].empty(), "stored blocks are the reference's");
            if (!is_stored) continue;
            require(std::memcmp(block, cluster[n].data(), vma::kBlockSize) == 0,
                    "blocks are the reference's");
            block += vma::kBlockSize;
        }
    }
}

void read(View archive, bool is_sized, const std::optional<testing::ArchiveIndex>& expected) {
    testing::MemorySource source(archive, is_sized);
    static base::BufferPool buffers(vma::kMaxExtentPayload, vma::kClusterSize, 0);
    try {
        vma::ArchiveReader reader(source, buffers);
        canon::ContentSum sum(reader.header());
        for (vma::Extent extent; reader.next(extent);) {
            if (expected) compare_extent(extent, *expected);
            sum.add(extent.header, extent.payload->data());
        }
        require(expected.has_value(), "what the reference refuses is refused");
        compare_headers(reader.header(), *expected);
        compare_again(reader.header());
        require(canon::content_digest(sum.devices(), reader.header().configs).to_hex() ==
                    testing::content_digest(archive),
                "the digest is the reference's");
    } catch (const base::Error&) {
        require(!expected, "what the reference reads is read");
    }
}

void run(View input) {
    const auto& archive = expand(input);
    const auto expected = reference(archive);
    read(archive, true, expected);
    read(archive, false, expected);
}

const Registration registration({"archive", 40, run, compact_seeds});

}  // namespace
}  // namespace vmad::fuzz
