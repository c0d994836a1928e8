// Damage behind the header: fields of extent headers, which clusters there are, and where the file ends.
#include <algorithm>
#include <string>
#include <string_view>

#include "support/damage_list.hpp"
#include "support/random.hpp"

namespace vmad::testing {

namespace {

using Parts = ArchiveParts;

// In the undamaged archive slot 0 of extent 0 is drive-scsi1, device 3; then come the 131 clusters of
// drive-scsi0, device 2, and the 9 of drive-efidisk0, device 1: extents of 58, 58 and 25 clusters.
constexpr std::size_t kMiddle = 1;
constexpr std::size_t kLast = 2;

/// Changes an integer of the middle extent's header by a function of the old value.
template <typename Change>
auto change_field(std::size_t at, std::size_t width, Change change) {
    return [=](Parts& parts) {
        std::byte* field = &parts.extents[kMiddle].head[at];
        put_be(field, width, change(get_be(field, width)));
        return parts.extent_offset(kMiddle) + at;
    };
}

/// Changes a slot of the middle extent.
template <typename Change>
auto change_slot(std::size_t at, Change change) {
    return [=](Parts& parts) {
        Slot slot = parts.slot(kMiddle, at);
        change(slot);
        parts.set_slot(kMiddle, at, slot);
        return parts.slot_offset(kMiddle, at);
    };
}

/// The first slot of the middle extent whose cluster has a block stored (or, with `stored` false, none).
std::size_t find_slot(const Parts& parts, bool stored) {
    std::size_t at = 0;
    while ((parts.slot(kMiddle, at).mask != 0) != stored) ++at;
    return at;
}

auto remove_clusters(std::size_t extent, std::size_t first, std::size_t count) {
    return [=](Parts& parts) {
        for (std::size_t i = 0; i < count; ++i) parts.remove_cluster(extent, first + i);
        return parts.extent_offset(parts.extents.size());
    };
}

auto remove_extent(std::size_t extent) {
    return [=](Parts& parts) {
        parts.extents.erase(parts.extents.begin() + static_cast<std::ptrdiff_t>(extent));
        return parts.extent_offset(parts.extents.size());
    };
}

/// Cuts the file to a length worked out from its parts.
template <typename Length>
auto cut(Length length) {
    return [=](Bytes& bytes) {
        bytes.resize(length(Parts(bytes)));
        return bytes.size();
    };
}

auto cut_to(std::size_t length) {
    return [=](Bytes& bytes) {
        bytes.resize(length);
        return length;
    };
}

auto append(Bytes tail) {
    return [tail = std::move(tail)](Bytes& bytes) {
        const std::size_t end = bytes.size();
        bytes.insert(bytes.end(), tail.begin(), tail.end());
        return end;
    };
}

/// No archive at all: these bytes, then random ones.
auto other_file(std::string_view magic) {
    return [start = to_bytes(magic)](Bytes& bytes) -> std::uint64_t {
        bytes.assign(20000, std::byte{0});
        Random(1).fill(bytes);
        std::copy(start.begin(), start.end(), bytes.begin());
        return 0;
    };
}

void add_truncation(DamageList& list) {
    list.add_bytes("cut-to-0", "the file is empty", cut_to(0));
    list.add_bytes("cut-to-1", "the file ends inside the magic", cut_to(1));
    list.add_bytes("cut-to-11", "the file ends inside the first fields", cut_to(11));
    list.add_bytes("cut-in-fixed-header", "the file ends inside the fixed header", cut_to(6000));
    list.add_bytes("cut-before-blobs", "the file ends with the fixed header", cut_to(header_at::kEnd));
    list.add_bytes("cut-in-blobs", "the file ends inside the blob area", cut_to(header_at::kEnd + 100));
    list.add_bytes("cut-after-header", "the file ends with the header, and there are devices",
                   cut([](const Parts& parts) { return parts.extent_offset(0); }));
    list.add_bytes("cut-in-extent-magic", "the file ends inside an extent's magic",
                   cut([](const Parts& parts) { return parts.extent_offset(kLast) + 2; }));
    list.add_bytes("cut-in-extent-header", "the file ends inside an extent header",
                   cut([](const Parts& parts) { return parts.extent_offset(kMiddle) + 100; }));
    list.add_bytes("cut-after-extent-header", "the file ends between an extent header and its blocks",
                   cut([](const Parts& parts) { return parts.extent_offset(kMiddle) + extent_at::kEnd; }));
    list.add_bytes("cut-in-blocks", "the file ends inside a block of an extent", cut([](const Parts& parts) {
                       return parts.extent_offset(kMiddle) + extent_at::kEnd + 5000;
                   }));
    list.add_bytes(
        "cut-between-blocks", "the file ends between two blocks of an extent",
        cut([](const Parts& parts) { return parts.extent_offset(kMiddle) + extent_at::kEnd + 8192; }));
    list.add_bytes("cut-between-extents", "the file ends between two extents",
                   cut([](const Parts& parts) { return parts.extent_offset(kLast); }));
    list.add_bytes("cut-last-block", "the last block is not there",
                   cut([](const Parts& parts) { return parts.extent_offset(kLast + 1) - kBlockBytes; }));
    list.add_bytes("cut-last-byte", "the last byte is not there",
                   cut([](const Parts& parts) { return parts.extent_offset(kLast + 1) - 1; }));
}

void add_excess(DamageList& list) {
    list.add_bytes("tail-1-byte", "one byte follows", append(Bytes(1)));
    list.add_bytes("tail-511-zeros", "511 zero bytes follow", append(Bytes(511)));
    list.add_bytes("tail-512-zeros", "512 zero bytes follow", append(Bytes(512)));
    list.add_bytes("tail-newline", "a line feed follows, as a copy in text mode would add",
                   append(to_bytes("\n")));
    list.add_bytes("tail-half-extent-header", "half an extent header follows", [](Bytes& bytes) {
        Bytes half = Parts(bytes).extents[0].head;
        half.resize(half.size() / 2);
        return append(half)(bytes);
    });
    list.add_parts("tail-last-extent-again", "the last extent is there twice", [](Parts& parts) {
        parts.extents.push_back(parts.extents[kLast]);
        return parts.slot_offset(kLast + 1, 0);
    });
    list.add_bytes("tail-second-archive", "the same archive follows, header and all", [](Bytes& bytes) {
        const Bytes copy = bytes;
        return append(copy)(bytes);
    });
    list.add_bytes("padding-after-header", "512 zero bytes lie between header and first extent",
                   [](Bytes& bytes) {
                       const std::uint64_t end = Parts(bytes).extent_offset(0);
                       bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(end), 512, std::byte{0});
                       return end;
                   });
    list.add_bytes("padding-between-extents", "a zero block lies between two extents", [](Bytes& bytes) {
        const std::uint64_t end = Parts(bytes).extent_offset(kMiddle);
        bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(end), kBlockBytes, std::byte{0});
        return end;
    });
}

void add_other_files(DamageList& list) {
    list.add_bytes("other-text", "a text file", other_file("Not an archive but some text.\n"));
    list.add_bytes("other-zeros", "zero bytes, as after a crash on XFS",
                   other_file(std::string(20000, '\0')));
    list.add_bytes("other-zstd", "the magic of zstd, and garbage", other_file("\x28\xb5\x2f\xfd"));
    list.add_bytes("other-gzip", "the magic of gzip, and garbage", other_file("\x1f\x8b\x08"));
    list.add_bytes("other-lzop", "the magic of lzop, and garbage",
                   other_file(std::string_view("\x89LZO\0\r\n\x1a\n", 9)));
    list.add_bytes("other-bzip2", "the magic of bzip2, and garbage", other_file("BZh9"));
    list.add_bytes("other-extent", "an archive without its header", [](Bytes& bytes) -> std::uint64_t {
        bytes.erase(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(Parts(bytes).header.size()));
        return 0;
    });
}

}  // namespace

void add_extent_damage(DamageList& list) {
    using namespace extent_at;
    list.add_parts("extent-magic", "an extent's magic is VMAF",
                   change_field(0, 4, [](auto v) { return v + 1; }));
    list.add_parts("extent-reserved", "an extent's reserved bytes are not zero",
                   change_field(kReserved, 2, [](auto) { return 1; }));
    list.add_parts("extent-uuid", "one extent has another uuid",
                   change_field(kUuid, 8, [](auto v) { return v ^ 1U; }));
    list.add_bytes("extent-md5", "one bit of an extent's MD5 is wrong", [](Bytes& bytes) {
        const std::uint64_t at = Parts(bytes).extent_offset(kMiddle) + kMd5;
        bytes[at] ^= std::byte{1};
        return at;
    });
    list.add_bytes("extent-bit-flip", "one bit of a cluster number is wrong, and so the MD5",
                   [](Bytes& bytes) {
                       const Parts parts(bytes);
                       bytes[parts.slot_offset(kMiddle, 5) + 7] ^= std::byte{1};
                       return parts.extent_offset(kMiddle) + kMd5;
                   });
    list.add_parts("block-count-high", "block_count is one more than the masks say",
                   change_field(kBlockCount, 2, [](auto v) { return v + 1; }));
    list.add_parts("block-count-low", "block_count is one less than the masks say",
                   change_field(kBlockCount, 2, [](auto v) { return v - 1; }));
    list.add_parts("block-count-zero", "block_count is 0 and the masks are not",
                   change_field(kBlockCount, 2, [](auto) { return 0; }));
    list.add_parts("block-count-65535", "block_count is 65535, more than an extent can hold",
                   change_field(kBlockCount, 2, [](auto) { return 0xffff; }));
    list.add_parts("mask-high", "a mask claims a block that block_count does not", [](Parts& parts) {
        change_slot(find_slot(parts, false), [](Slot& slot) { slot.mask = 1; })(parts);
        return parts.extent_offset(kMiddle) + kBlockCount;
    });
    list.add_parts("mask-low", "a mask lacks the blocks of its cluster", [](Parts& parts) {
        change_slot(find_slot(parts, true), [](Slot& slot) { slot.mask = 0; })(parts);
        return parts.extent_offset(kMiddle) + kBlockCount;
    });
}

void add_cluster_damage(DamageList& list) {
    list.add_parts("cluster-of-unknown-device", "a cluster of a device that the header does not name",
                   change_slot(7, [](Slot& slot) { slot.device = 200; }));
    list.add_parts("cluster-of-device-255", "a cluster of device 255",
                   change_slot(7, [](Slot& slot) { slot.device = 255; }));
    list.add_parts("cluster-past-device", "a cluster just past the end of its device",
                   change_slot(0, [](Slot& slot) { slot.cluster = 131; }));
    list.add_parts("cluster-number-huge", "cluster 2^32 - 1",
                   change_slot(57, [](Slot& slot) { slot.cluster = 0xffffffffU; }));
    list.add_parts("cluster-twice-in-extent", "a cluster twice in one extent", [](Parts& parts) {
        const std::uint32_t other = parts.slot(kMiddle, 4).cluster;
        return change_slot(5, [=](Slot& slot) { slot.cluster = other; })(parts);
    });
    list.add_parts("cluster-twice-in-file", "a cluster in two extents", [](Parts& parts) {
        const std::uint32_t other = parts.slot(0, 3).cluster;
        return change_slot(5, [=](Slot& slot) { slot.cluster = other; })(parts);
    });
    list.add_parts("missing-first-cluster", "a device's first cluster is missing", remove_clusters(0, 1, 1));
    list.add_parts("missing-middle-cluster", "a cluster is missing", remove_clusters(kMiddle, 30, 1));
    list.add_parts("missing-last-cluster", "a device's last cluster is missing",
                   remove_clusters(kLast, 15, 1));
    list.add_parts("missing-small-device", "a device's only cluster is missing", remove_clusters(0, 0, 1));
    list.add_parts("missing-device", "all clusters of a device are missing", remove_clusters(kLast, 16, 9));
    list.add_parts("missing-first-extent", "the first extent is missing", remove_extent(0));
    list.add_parts("missing-middle-extent", "an extent is missing", remove_extent(kMiddle));
    list.add_parts("missing-last-extent", "the last extent is missing", remove_extent(kLast));
    list.add_parts("device-longer-than-clusters", "a device is a cluster longer than what is stored of it",
                   [](Parts& parts) {
                       parts.set_header(
                           header_at::kDevices + 2 * header_at::kDeviceBytes + header_at::kDeviceSize,
                           132 * kClusterBytes, 8);
                       return parts.extent_offset(parts.extents.size());
                   });
}

void add_end_damage(DamageList& list) {
    add_truncation(list);
    add_excess(list);
    add_other_files(list);
}

}  // namespace vmad::testing
