#include "support/reference.hpp"

#include <sha2.h>

#include <fstream>
#include <iterator>
#include <string>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "support/archive_index.hpp"
#include "support/dump.hpp"

using namespace vmad::testing;

namespace {

Bytes read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    REQUIRE(file);
    return to_bytes(std::string{std::istreambuf_iterator<char>(file), {}});
}

std::string sha256(const Bytes& bytes) {
    char hex[SHA256_DIGEST_STRING_LENGTH];
    SHA256Data(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size(), hex);
    return hex;
}

nlohmann::json manifest() {
    std::ifstream file(VMAD_TEST_DATA "/official/manifest.json");
    return nlohmann::json::parse(file);
}

}  // namespace

TEST_CASE("archives by Proxmox's own writers extract to what Proxmox extracts") {
    std::size_t archives = 0;
    const nlohmann::json official = manifest();
    for (const auto& [file_name, facts] : official.items()) {
        CAPTURE(file_name);
        const Contents contents = extract(read_file(VMAD_TEST_DATA "/official/" + file_name));
        REQUIRE(contents.disks.size() == facts["disks"].size());
        for (const auto& disk : facts["disks"]) {
            const Bytes& bytes = contents.disks.at(disk["name"]);
            CHECK(bytes.size() == disk["size"].get<std::size_t>());
            CHECK(sha256(bytes) == disk["sha256"].get<std::string>());
        }
        REQUIRE(contents.configs.size() == facts["configs"].size());
        for (std::size_t i = 0; i < contents.configs.size(); ++i) {
            CHECK(contents.configs[i].first == facts["configs"][i]["name"].get<std::string>());
            CHECK(sha256(contents.configs[i].second) == facts["configs"][i]["sha256"].get<std::string>());
        }
        ++archives;
    }
    CHECK(archives == 8);
}

TEST_CASE("their canonical form holds the same content and is its own canonical form") {
    const nlohmann::json official = manifest();
    for (const auto& [file_name, facts] : official.items()) {
        CAPTURE(file_name);
        const Bytes archive = read_file(VMAD_TEST_DATA "/official/" + file_name);
        const Bytes canonical = reference_repack(archive);
        CHECK(extract(canonical) == extract(archive));
        CHECK(reference_repack(canonical) == canonical);
        CHECK(content_digest(canonical) == content_digest(archive));
        CHECK(ArchiveIndex(canonical).ctime == ArchiveIndex(archive).ctime);
    }
}

TEST_CASE("any two dumps of one guest extract to it, and have one canonical form and one digest") {
    for (std::uint64_t seed = 0; seed < 60; ++seed) {
        CAPTURE(seed);
        const Guest guest = random_guest(seed);
        const Contents contents = contents_of(guest);
        const Bytes one = dump(guest, random_dump_options(2 * seed));
        const Bytes two = dump(guest, random_dump_options(2 * seed + 1));
        CHECK(extract(one) == contents);
        CHECK(extract(two) == contents);
        const Bytes canonical = reference_repack(one);
        CHECK(reference_repack(two) == canonical);
        CHECK(reference_repack(canonical) == canonical);
        CHECK(extract(canonical) == contents);
        CHECK(content_digest(one) == content_digest(two));
        CHECK(content_digest(one) == content_digest(canonical));
    }
}

TEST_CASE("the digest sees every kind of change") {
    const Guest guest =
        plausible_guest({{.name = "drive-scsi0", .size_bytes = 1 << 20, .content = {.seed = 1}},
                         {.name = "drive-scsi1", .size_bytes = 1 << 20, .content = {.seed = 2}}});
    const auto digest_after = [&](auto change) {
        Guest changed = guest;
        change(changed);
        return content_digest(dump(changed));
    };
    const std::string before = content_digest(dump(guest));
    CHECK(digest_after([](Guest&) {}) == before);
    CHECK(digest_after([](Guest& g) { g.disks[0].content.patches[255] = to_bytes("x"); }) != before);
    CHECK(digest_after([](Guest& g) { std::swap(g.disks[0].content, g.disks[1].content); }) != before);
    CHECK(digest_after([](Guest& g) { g.disks[1].name = "drive-scsi2"; }) != before);
    CHECK(digest_after([](Guest& g) { g.disks.pop_back(); }) != before);
    CHECK(digest_after([](Guest& g) { g.configs[0].name += "x"; }) != before);
    CHECK(digest_after([](Guest& g) { g.configs[0].data.pop_back(); }) != before);
    CHECK(digest_after([](Guest& g) { g.configs.push_back({"x", {}}); }) != before);
    CHECK(digest_after([](Guest& g) {
              g.disks[0].size_bytes += 512;
              g.disks[0].content.changed[256] = 0;
          }) != before);

    // The same blocks in other places.
    Guest there = guest, here = guest;
    here.disks[0].content.patches = {{7, to_bytes("x")}, {8, {}}};
    there.disks[0].content.patches = {{8, to_bytes("x")}, {7, {}}};
    CHECK(content_digest(dump(here)) != content_digest(dump(there)));
}

TEST_CASE("stable device ids") {
    using Ids = std::map<std::string, std::uint8_t>;
    CHECK(reference_ids({"drive-scsi10", "drive-scsi2", "drive-ide0", "drive-virtio15", "drive-sata5",
                         "drive-efidisk0", "drive-tpmstate0", "drive-tpmstate0-backup"}) ==
          Ids{{"drive-ide0", 1},
              {"drive-scsi2", 7},
              {"drive-scsi10", 15},
              {"drive-virtio15", 51},
              {"drive-sata5", 57},
              {"drive-efidisk0", 58},
              {"drive-tpmstate0", 59},
              {"drive-tpmstate0-backup", 60}});
    // Each hashes to place 131, the last one by 2^32 - 1; and to place 193, the last.
    CHECK(reference_ids({"drive-x22393855n", "drive-usb416", "drive-usb104"}) ==
          Ids{{"drive-usb104", 192}, {"drive-usb416", 193}, {"drive-x22393855n", 194}});
    CHECK(reference_ids({"drive-nvme245", "drive-nvme89", "drive-nvme225"}) ==
          Ids{{"drive-nvme225", 254}, {"drive-nvme245", 61}, {"drive-nvme89", 62}});
    // More unknown names than places for them: the rest take the lowest free ids.
    std::vector<std::string> names = {"drive-ide1"};
    for (int i = 100; i < 296; ++i) names.push_back("odd" + std::to_string(i));
    const Ids ids = reference_ids(names);
    CHECK(ids.at("drive-ide1") == 2);
    CHECK(ids.at("odd294") == 1);
    CHECK(ids.at("odd295") == 3);
}

TEST_CASE("the canonical layout, byte by byte where it is short") {
    Guest guest{.configs = {{"c", to_bytes("data")}}, .disks = {{.name = "drive-scsi0", .size_bytes = 512}}};
    guest.disks[0].content.patches[0] = to_bytes("hello");
    DumpOptions options = random_dump_options(4);
    options.ctime = 0x0102030405060708;
    const Bytes archive = reference_repack(dump(guest, options));

    Bytes header(65536), head(512), block(kBlockBytes);
    const auto put = [](Bytes& to, std::size_t at, std::string_view text) {
        std::copy_n(to_bytes(text).begin(), text.size(), to.begin() + static_cast<std::ptrdiff_t>(at));
    };
    const std::string_view uuid = "\x12\x34\x56\x78\xaa\xbb\xcc\xdd\xee\xff\xaa\xbb\xcc\xdd\xee\xff";
    put(header, 0, std::string_view("VMA\0\0\0\0\1", 8));
    put(header, 8, uuid);
    put_be(&header[24], 8, 0x0102030405060708);
    put_be(&header[48], 4, 12288);
    put_be(&header[52], 4, 25);
    put_be(&header[56], 4, 65536);
    put_be(&header[2044], 4, 1);
    put_be(&header[3068], 4, 5);
    put_be(&header[4096 + 32 * 5], 4, 11);
    put_be(&header[4096 + 32 * 5 + 8], 8, 512);
    put(header, 12288, std::string_view("\0\2\0c\0\4\0data\14\0drive-scsi0\0", 25));
    seal(header, 32);
    put(head, 0, std::string_view("VMAE\0\0\0\1", 8));
    put(head, 8, uuid);
    put(head, 40, std::string_view("\0\1\0\5\0\0\0\0", 8));
    seal(head, 24);
    put(block, 0, "hello");
    header.insert(header.end(), head.begin(), head.end());
    header.insert(header.end(), block.begin(), block.end());
    // Seven more, without slots.
    Bytes empty(512);
    put(empty, 0, std::string_view("VMAE\0\0\0\0", 8));
    put(empty, 8, uuid);
    seal(empty, 24);
    for (int i = 0; i < 7; ++i) header.insert(header.end(), empty.begin(), empty.end());
    CHECK(archive == header);
}
