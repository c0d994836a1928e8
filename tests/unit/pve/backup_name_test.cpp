#include "pve/backup_name.hpp"

#include <cstdlib>
#include <ctime>
#include <string>

#include <doctest/doctest.h>
#include <fmt/format.h>

namespace vmad::pve {
namespace {

TEST_CASE("the name of a backup says guest and time, whatever its compression") {
    for (const char* ending : {".vma", ".vma.zst", ".vma.gz", ".vma.lzo"}) {
        CAPTURE(ending);
        const auto name = parse_backup_name(std::string("vzdump-qemu-100-2026_01_31-02_03_59") + ending);
        REQUIRE(name);
        CHECK(*name == BackupName{100, {2026, 1, 31, 2, 3, 59}});
    }
}

TEST_CASE("every guest id that Proxmox hands out is told") {
    for (std::uint64_t vmid = 100; vmid <= 999'999'999; vmid = vmid * 7 / 3 + 1)
        CHECK(vmid_of(fmt::format("/dump/vzdump-qemu-{}-2024_02_29-00_00_00.vma.zst", vmid)) == vmid);
    CHECK(vmid_of("vzdump-qemu-999999999-2024_02_29-23_59_59.vma") == 999'999'999);
}

TEST_CASE("the time of a backup is local time") {
    const char* path = "/dump/vzdump-qemu-100-2026_07_01-02_00_00.vma";
    ::setenv("TZ", "Europe/Berlin", 1);
    ::tzset();
    CHECK(backup_time_of(path) == 1'782'864'000);
    CHECK(backup_time_of("vzdump-qemu-100-2026_01_31-01_00_00.vma.zst") == 1'769'817'600);
    ::setenv("TZ", "UTC", 1);
    ::tzset();
    CHECK(backup_time_of(path) == 1'782'871'200);
    CHECK_FALSE(backup_time_of("/dump/disk.vma"));
}

TEST_CASE("other names say nothing") {
    for (const char* name : {
             "",
             "vzdump-qemu-",
             "vzdump-qemu-.vma",
             ".vma",
             "vzdump-qemu.vma",
             "vzdump-qemu-100.vma",
             "vzdump-qemu-100-.vma",
             "vzdump-qemu-99-2026_01_31-02_03_59.vma",
             "vzdump-qemu-0100-2026_01_31-02_03_59.vma",
             "vzdump-qemu-1000000000-2026_01_31-02_03_59.vma",
             "vzdump-qemu-99999999999999999999-2026_01_31-02_03_59.vma",
             "vzdump-qemu-+100-2026_01_31-02_03_59.vma",
             "vzdump-qemu-100-2026_02_29-02_03_59.vma",
             "vzdump-qemu-100-2026_13_01-02_03_59.vma",
             "vzdump-qemu-100-2026_00_01-02_03_59.vma",
             "vzdump-qemu-100-2026_01_00-02_03_59.vma",
             "vzdump-qemu-100-2026_01_31-24_03_59.vma",
             "vzdump-qemu-100-2026_01_31-02_60_59.vma",
             "vzdump-qemu-100-2026_01_31-02_03_60.vma",
             "vzdump-qemu-100-2026_01_31-02_03_5.vma",
             "vzdump-qemu-100-2026_01_31-02_03_599.vma",
             "vzdump-qemu-100-2026-01-31-02_03_59.vma",
             "vzdump-qemu-100-2026_01_31_02_03_59.vma",
             "vzdump-qemu-100-2026_01_31-02_03_59",
             "vzdump-qemu-100-2026_01_31-02_03_59.VMA",
             "vzdump-qemu-100-2026_01_31-02_03_59.vma.bz2",
             "vzdump-qemu-100-2026_01_31-02_03_59.vma.zst.notes",
             "vzdump-qemu-100-2026_01_31-02_03_59.log",
             "vzdump-qemu-100-2026_01_31-02_03_59.vma.dat",
             "vzdump-qemu-100-2026_01_31-02_03_59 .vma",
             "vzdump-lxc-100-2026_01_31-02_03_59.tar.zst",
             " vzdump-qemu-100-2026_01_31-02_03_59.vma",
             "vzdump-qemu-100-2026_01_31-02_03_59.vma\n",
             "dump/vzdump-qemu-100-2026_01_31-02_03_59.vma",
         }) {
        CAPTURE(name);
        CHECK(parse_backup_name(name) == std::nullopt);
    }
}

TEST_CASE("of a path the last component counts") {
    CHECK(vmid_of("/vzdump-qemu-100-2026_01_31-02_03_59.vma/disk.vma") == std::nullopt);
    CHECK(vmid_of("/a/vzdump-qemu-100-2026_01_31-02_03_59.vma/") == std::nullopt);
    CHECK(vmid_of("vzdump-qemu-101-2026_01_31-02_03_59.vma") == 101);
    CHECK(vmid_of("") == std::nullopt);
    CHECK(vmid_of("/") == std::nullopt);
}

TEST_CASE("no cut or changed byte of a name makes it another guest's") {
    const std::string name = "vzdump-qemu-100-2026_01_31-02_03_59.vma.zst";
    for (std::size_t length = 0; length < name.size(); ++length) {
        const auto cut = parse_backup_name(std::string_view(name).substr(0, length));
        CHECK((!cut || name.substr(0, length).ends_with(".vma")));
    }
    for (std::size_t at = 0; at < name.size(); ++at) {
        for (const char c : {'\0', 'x', '\xff', '/', '-'}) {
            auto changed = name;
            if (changed[at] == c) continue;
            changed[at] = c;
            CAPTURE(changed);
            CHECK(parse_backup_name(changed) == std::nullopt);
        }
    }
}

TEST_CASE("backups before one are those of its guest with an earlier time, the newest first") {
    const std::string name = "vzdump-qemu-100-2026_02_03-04_05_06.vma.zst";
    const std::vector<std::string> names{"vzdump-qemu-100-2025_12_31-23_59_59.vma",
                                         "vzdump-qemu-100-2026_02_03-04_05_05.vma.gz",
                                         name,
                                         "vzdump-qemu-100-2026_02_03-04_05_06.vma",
                                         "vzdump-qemu-100-2026_02_03-04_05_07.vma",
                                         "vzdump-qemu-1001-2026_01_01-00_00_00.vma",
                                         "vzdump-qemu-100-2026_02_02-23_00_00.log",
                                         "vzdump-lxc-100-2026_01_01-00_00_00.tar.zst",
                                         "vzdump-qemu-100-2026_01_15-00_00_00.vma.lzo"};
    CHECK(earlier_backups(names, name) == std::vector<std::string>{names[1], names[8], names[0]});
    CHECK(earlier_backups(names, "vzdump-qemu-102-2026_02_03-04_05_06.vma").empty());
    CHECK(earlier_backups(names, "disk.vma").empty());
}

}  // namespace
}  // namespace vmad::pve
