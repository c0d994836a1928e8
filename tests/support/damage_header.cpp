// Damage to the header: its fields one by one, the blob area, configs and devices.
#include <string>

#include "support/damage_list.hpp"

namespace vmad::testing {

namespace {

using namespace header_at;
using Parts = ArchiveParts;

// Slots of the undamaged archive: two configs, then devices 1 (drive-efidisk0), 2 (drive-scsi0), 3.
constexpr std::size_t kName0 = kConfigNames, kName1 = kConfigNames + 4;
constexpr std::size_t kData0 = kConfigData, kData1 = kConfigData + 4;
constexpr std::size_t device_at(unsigned id) { return kDevices + kDeviceBytes * id; }
constexpr std::size_t size_at(unsigned id) { return device_at(id) + kDeviceSize; }

/// Sets a u32 of the header, which is the defect.
auto set(std::size_t at, std::uint64_t value) {
    return [=](Parts& parts) {
        parts.set_header(at, value);
        return at;
    };
}

/// Sets a device's size, which is the defect.
auto set_size(unsigned id, std::uint64_t size_bytes) {
    return [=](Parts& parts) {
        parts.set_header(size_at(id), size_bytes, 8);
        return size_at(id);
    };
}

/// Sets a size that is fine but for what the file holds.
auto outgrow(unsigned id, std::uint64_t size_bytes) {
    return [=](Parts& parts) {
        parts.set_header(size_at(id), size_bytes, 8);
        return parts.join().size();
    };
}

/// Makes a pointer wrong by `by`.
auto shift_pointer(std::size_t at, std::uint64_t by) {
    return [=](Parts& parts) {
        parts.set_header(at, parts.get_header(at) + by);
        return at;
    };
}

/// Overwrites the last byte, which is the NUL, of the name behind a pointer.
auto lose_nul(std::size_t pointer_at) {
    return [=](Parts& parts) {
        const std::size_t blob = parts.blob_at(pointer_at);
        parts.header[blob + get_le(&parts.header[blob - 2], 2) - 1] = std::byte{'x'};
        return pointer_at;
    };
}

auto put_nul_inside(std::size_t pointer_at) {
    return [=](Parts& parts) {
        parts.header[parts.blob_at(pointer_at) + 5] = std::byte{0};
        return pointer_at;
    };
}

/// Moves dev_info's entry `from` to `to`; the extents keep the old id.
auto move_device(unsigned from, unsigned to) {
    return [=](Parts& parts) {
        for (std::size_t i = 0; i < kDeviceBytes; ++i) {
            parts.header[device_at(to) + i] = parts.header[device_at(from) + i];
            parts.header[device_at(from) + i] = std::byte{0};
        }
        return device_at(to);
    };
}

void add_fixed_fields(DamageList& list) {
    list.add_parts("header-magic", "the magic is VMB", set(0, 0x564d4200));
    list.add_parts("version-0", "version 0", set(kVersion, 0));
    list.mark_unsupported();
    list.add_parts("version-2", "version 2", set(kVersion, 2));
    list.mark_unsupported();
    list.add_bytes("header-md5", "one bit of the header's MD5 is wrong", [](Bytes& bytes) {
        bytes[kMd5] ^= std::byte{1};
        return kMd5;
    });
    list.add_bytes("header-bit-flip", "one bit of a config is wrong, and so the MD5", [](Bytes& bytes) {
        bytes[kEnd + 40] ^= std::byte{0x10};
        return kMd5;
    });
    list.add_bytes("header-ctime-flip", "one bit of the time is wrong, and so the MD5", [](Bytes& bytes) {
        bytes[kCtime + 7] ^= std::byte{1};
        return kMd5;
    });
    list.add_parts("header-uuid", "the header's uuid differs from that of every extent", [](Parts& parts) {
        parts.header[kUuid] ^= std::byte{1};
        return parts.extent_offset(0) + extent_at::kUuid;
    });
}

void add_sizes(DamageList& list) {
    list.add_parts("blob-offset-low", "the blob area starts inside the fixed header", set(kBlobOffset, 4096));
    list.add_parts("blob-offset-zero", "the blob area starts at 0", set(kBlobOffset, 0));
    list.add_parts("blob-offset-high", "the blob area starts past the header", set(kBlobOffset, 1U << 20U));
    list.add_parts("blob-offset-wraps", "offset plus size of the blob area is 0 in 32 bits",
                   [](Parts& parts) {
                       parts.set_header(kBlobOffset, 0x100000000U - parts.get_header(kBlobSize));
                       return kBlobOffset;
                   });
    list.add_parts("blob-size-high", "the blob area ends past the header", [](Parts& parts) {
        parts.set_header(kBlobSize, parts.header.size() - kEnd + 1);
        return kBlobSize;
    });
    list.add_parts("blob-size-huge", "the blob area has 2^32 - 1 bytes", set(kBlobSize, 0xffffffffU));
    list.add_parts("blob-size-zero", "the blob area is empty, so that every pointer leads nowhere",
                   [](Parts& parts) {
                       parts.set_header(kBlobSize, 0);
                       return kName0;
                   });
    list.add_parts("header-size-zero", "header_size is 0", set(kHeaderSize, 0));
    list.add_parts("header-size-small", "header_size is 512", set(kHeaderSize, 512));
    list.add_parts("header-size-12288", "header_size leaves no room for blobs", set(kHeaderSize, kEnd));
    list.add_parts("header-size-odd", "header_size is not a multiple of 512", [](Parts& parts) {
        parts.header.push_back(std::byte{0});
        parts.set_header(kHeaderSize, parts.header.size());
        return kHeaderSize;
    });
    list.add_parts("header-size-off-by-512", "header_size takes an extent header in", [](Parts& parts) {
        parts.set_header(kHeaderSize, parts.header.size() + 512);
        return kMd5;
    });
    list.add_parts("header-size-past-end", "header_size is larger than the file", [](Parts& parts) {
        const std::uint64_t file_size = parts.join().size();
        parts.set_header(kHeaderSize, (file_size + 1023) / 512 * 512);
        return file_size;
    });
    list.add_parts("header-size-huge", "header_size is almost 4 GiB", set(kHeaderSize, 0xfffffe00U));
}

void add_configs(DamageList& list) {
    list.add_parts("config-name-inside-blob", "a config's name starts inside a blob",
                   shift_pointer(kName0, 1));
    list.add_parts("config-name-past-blobs", "a config's name lies past the blob area",
                   shift_pointer(kName1, 1U << 20U));
    list.add_parts("config-data-inside-blob", "a config's data starts inside a blob",
                   shift_pointer(kData1, 3));
    list.add_parts("config-data-past-blobs", "a config's data lies past the blob area",
                   set(kData0, 0xffffffffU));
    list.add_parts("config-without-data", "a config has a name and no data", set(kData0, 0));
    list.add_parts("config-without-name", "a config has data and no name", set(kName1, 0));
    list.add_parts("config-name-unterminated", "a config's name has no NUL", lose_nul(kName0));
    list.add_parts("config-name-with-nul", "a config's name has a NUL inside", put_nul_inside(kName1));
    list.add_guest("config-name-empty", "a config's name is empty", [](Guest& guest) {
        guest.configs[1].name.clear();
        return kName1;
    });
    list.add_parts("config-name-no-bytes", "a config's name is a blob of no bytes, not even a NUL",
                   [](Parts& parts) {
                       const std::size_t end = kEnd + parts.get_header(kBlobSize);
                       parts.header.resize((end + 2 + 511) / 512 * 512);
                       parts.set_header(kHeaderSize, parts.header.size());
                       parts.set_header(kBlobSize, end + 2 - kEnd);
                       put_le(&parts.header[end], 2, 0);
                       parts.set_header(kName0, end - kEnd);
                       return kName0;
                   });
    list.add_parts("blob-length-cuts-chain",
                   "a blob's length leads out of the blob area, past all later ones", [](Parts& parts) {
                       put_le(&parts.header[parts.blob_at(kData0) - 2], 2, 0xffff);
                       return kData0;
                   });
}

void add_devices(DamageList& list) {
    list.add_parts("device-name-inside-blob", "a device's name starts inside a blob",
                   shift_pointer(device_at(2), 1));
    list.add_parts("device-name-past-blobs", "a device's name lies past the blob area",
                   set(device_at(1), 0x7fffffff));
    list.add_parts("device-name-unterminated", "a device's name has no NUL", lose_nul(device_at(1)));
    list.add_parts("device-name-with-nul", "a device's name has a NUL inside", put_nul_inside(device_at(3)));
    list.add_guest("device-name-empty", "a device's name is empty", [](Guest& guest) {
        guest.disks[0].name.clear();
        return device_at(1);
    });
    list.add_guest("device-name-twice", "two devices have one name", [](Guest& guest) {
        guest.disks[2].name = guest.disks[1].name;
        return device_at(3);
    });
    list.add_parts("device-name-shared", "two devices have the same pointer to their name", [](Parts& parts) {
        parts.set_header(device_at(3), parts.get_header(device_at(1)));
        return device_at(3);
    });
    list.add_parts("device-without-size", "a device has a name and size 0", set_size(3, 0));
    list.add_parts("device-without-name", "a device has a size and no name", set(device_at(2), 0));
    list.add_guest("device-size-odd", "a device's size is not a multiple of 512", [](Guest& guest) {
        guest.disks[2].size_bytes = 1000;
        return size_at(3);
    });
    list.add_parts("device-size-over-limit", "a device's size is 2^48 + 512",
                   set_size(2, kMaxDeviceBytes + 512));
    list.add_parts("device-size-at-limit", "a device's size is 2^48: too many clusters for the file",
                   outgrow(2, kMaxDeviceBytes));
    list.add_parts("device-size-64-bits", "a device's size is 2^64 - 512", set_size(1, 0xfffffffffffffe00U));
    list.add_parts("device-size-too-many-clusters",
                   "a device's size implies more clusters than the file can hold",
                   outgrow(3, std::uint64_t{1} << 40U));
    list.add_parts("device-in-slot-0", "a device is in slot 0", move_device(3, 0));
    list.add_parts("device-in-slot-255", "a device is in slot 255", move_device(1, 255));
    list.add_parts("device-moved", "a device is in another slot than its clusters say", [](Parts& parts) {
        move_device(3, 4)(parts);
        return parts.slot_offset(0, 0);
    });
    list.add_guest("device-vmstate", "a device holds the guest's RAM", [](Guest& guest) {
        guest.disks.push_back({.name = "vmstate", .size_bytes = 2 * kClusterBytes});
        return device_at(4);
    });
    list.mark_unsupported();
}

}  // namespace

void add_header_damage(DamageList& list) {
    add_fixed_fields(list);
    add_sizes(list);
    add_configs(list);
    add_devices(list);
}

}  // namespace vmad::testing
