#include "support/damage.hpp"

#include <stdexcept>

#include "support/damage_list.hpp"
#include "support/dump.hpp"

namespace vmad::testing {

namespace {

Guest undamaged_guest() {
    Guest guest = plausible_guest({{.name = "drive-efidisk0", .size_bytes = 540672},
                                   {.name = "drive-scsi0", .size_bytes = 130 * kClusterBytes + 32768},
                                   {.name = "drive-scsi1", .size_bytes = 512}});
    guest.configs.push_back({"qemu-server.fw", to_bytes("[OPTIONS]\nenable: 1\n")});
    for (auto& disk : guest.disks) {
        disk.content.zero_fraction = 0.95;
        const std::uint64_t last_block = (disk.size_bytes - 1) / kBlockBytes;
        // So that no truncation falls on a border by chance.
        disk.content.patches[0] = to_bytes("first");
        disk.content.patches[last_block] = to_bytes("last");
    }
    return guest;
}

Bytes dump_in_order(const Guest& guest) {
    DumpOptions options;
    options.jitter = 1;
    options.injected = 0;
    return dump(guest, options);
}

}  // namespace

void DamageList::add_guest(std::string id, std::string defect, std::function<std::uint64_t(Guest&)> change) {
    list_.push_back({.id = std::move(id), .defect = std::move(defect), .build = [change = std::move(change)] {
                         Guest guest = undamaged_guest();
                         const std::uint64_t offset = change(guest);
                         return DamagedArchive{.bytes = dump_in_order(guest), .offset = offset};
                     }});
}

void DamageList::add_parts(std::string id, std::string defect,
                           std::function<std::uint64_t(ArchiveParts&)> change) {
    list_.push_back({.id = std::move(id), .defect = std::move(defect), .build = [change = std::move(change)] {
                         ArchiveParts parts(undamaged_archive());
                         const std::uint64_t offset = change(parts);
                         return DamagedArchive{.bytes = parts.join(), .offset = offset};
                     }});
}

void DamageList::add_bytes(std::string id, std::string defect, std::function<std::uint64_t(Bytes&)> change) {
    list_.push_back({.id = std::move(id), .defect = std::move(defect), .build = [change = std::move(change)] {
                         Bytes bytes = undamaged_archive();
                         const std::uint64_t offset = change(bytes);
                         return DamagedArchive{.bytes = std::move(bytes), .offset = offset};
                     }});
}

const std::vector<Damage>& damages() {
    static const std::vector<Damage> all = [] {
        DamageList list;
        add_header_damage(list);
        add_extent_damage(list);
        add_cluster_damage(list);
        add_end_damage(list);
        return std::move(list).take();
    }();
    return all;
}

const Damage& damage_named(std::string_view id) {
    for (const auto& damage : damages()) {
        if (damage.id == id) return damage;
    }
    throw std::out_of_range("no damage called " + std::string(id));
}

Bytes undamaged_archive() { return dump_in_order(undamaged_guest()); }

}  // namespace vmad::testing
