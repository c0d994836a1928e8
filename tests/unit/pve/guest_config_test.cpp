#include "pve/guest_config.hpp"

#include <doctest/doctest.h>

using vmad::pve::guest_name;

TEST_CASE("the name of a guest is that of its present config") {
    struct Row {
        const char* config;
        const char* name;
    };
    const Row rows[] = {
        {"", ""},
        {"name: web", "web"},
        {"#qmdump#map:scsi0:drive-scsi0:::\nboot: order=scsi0\nname: web.example.org\nmemory: 512\n",
         "web.example.org"},
        {"memory: 512\n\n[before]\nname: old\n", ""},
        {"vmname: x\n name: y\nname:\t z \r\n", "z"},
        {"name:\nname: second\n", ""},
    };
    for (const auto& row : rows) CHECK(guest_name(row.config) == row.name);
    CHECK(guest_name("name: " + std::string(1000, 'x')).size() == 253);
}

TEST_CASE("which disks of a backup are restored is in lines of vzdump's") {
    using Disks = std::vector<std::string>;
    CHECK(vmad::pve::mapped_disks("").empty());
    CHECK(vmad::pve::mapped_disks("name: a\n#qmdump#map:scsi0:drive-scsi0:local-lvm:raw:\r\n"
                                  "#qmdump#map:tpmstate0:drive-tpmstate0-backup:::") ==
          Disks{"drive-scsi0", "drive-tpmstate0-backup"});
    CHECK(vmad::pve::mapped_disks(
              "#qmdump#map:\n#qmdump#map:scsi0\n#qmdump#map:scsi0:\n #qmdump#map:a:b:c:d:\n")
              .empty());
}
