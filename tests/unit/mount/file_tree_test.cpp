#include "mount/file_tree.hpp"

#include <algorithm>

#include <doctest/doctest.h>

#include "mount/archive_tree.hpp"
#include "support/dump.hpp"
#include "support/memory_file.hpp"

using namespace vmad;
using mount::file_name_for;

namespace {

std::string content_of(mount::FileTree& tree, mount::Inode inode) {
    const auto file = tree.open(inode);
    REQUIRE(file != nullptr);
    std::string text(file->size_bytes(), '\0');
    if (!text.empty()) file->read_at(0, std::as_writable_bytes(std::span(text)));
    return text;
}

/// A guest whose names are these.
testing::Guest named_guest(const std::vector<std::string>& configs, const std::vector<std::string>& disks) {
    testing::Guest guest;
    for (const auto& name : configs) guest.configs.push_back({name, testing::to_bytes("config " + name)});
    for (const auto& name : disks) guest.disks.push_back({name, 1 << 20});
    return guest;
}

/// The archive of a guest, mounted as far as that goes without a kernel.
struct Shown {
    explicit Shown(const testing::Guest& guest, unsigned seed = 1)
        : file(testing::memory_file(testing::dump(guest, {.seed = seed}))),
          index(access::ArchiveIndex::read(fs, file, {})),
          tree(*index, {}, {.tv_sec = 1000, .tv_nsec = 0}, [] { return std::string("{}\n"); }) {}

    std::vector<mount::Entry> entries() { return tree.entries(mount::kRootInode).value(); }
    std::vector<std::string> names() {
        std::vector<std::string> names;
        for (const auto& entry : entries()) names.push_back(entry.name);
        return names;
    }

    io::FileSystem fs;
    io::File file;
    std::unique_ptr<access::ArchiveIndex> index;
    mount::ArchiveTree tree;
};

}  // namespace

TEST_CASE("a name is fit for a directory, whatever it is made of") {
    std::vector<std::string> taken{"info.json"};
    const std::pair<std::string, std::string> kNames[]{
        {"qemu-server.conf", "qemu-server.conf"},
        {"../../etc/passwd", "..\\x2f..\\x2fetc\\x2fpasswd"},
        {"", "_"},
        {".", "_."},
        {"..", "_.."},
        {"a\nb\x1b[31m", "a\\x0ab\\x1b[31m"},
        {"\xff", "\\xff"},
        {"größe", "größe"},
        {"info.json", "info.json~2"},
        {"qemu-server.conf", "qemu-server.conf~2"},
        {"qemu-server.conf", "qemu-server.conf~3"},
        {std::string(300, 'x'), std::string(255, 'x')},
        {std::string(301, 'x'), std::string(253, 'x') + "~2"},
        {std::string(254, 'y') + "ö", std::string(254, 'y')},
    };
    for (const auto& [text, name] : kNames) CHECK(file_name_for(text, taken) == name);
}

TEST_CASE("hostile names neither lead out of the mount nor hide a file") {
    const std::vector<std::string> configs{"info.json",         "a/b", "..", "a/b", "drive-scsi0.raw",
                                           std::string("x\x01")};
    Shown shown(named_guest(configs, {"drive-scsi0", "../up"}));
    const auto names = shown.names();
    auto sorted = names;
    std::sort(sorted.begin(), sorted.end());
    CHECK(std::adjacent_find(sorted.begin(), sorted.end()) == sorted.end());
    CHECK(names.back() == "info.json");
    CHECK(std::count(names.begin(), names.end(), "drive-scsi0.raw") == 1);
    for (const auto& name : names) {
        CAPTURE(name);
        CHECK(name.find('/') == name.npos);
        const auto found = shown.tree.find(mount::kRootInode, name);
        REQUIRE(found);
        CHECK(found->size_bytes == content_of(shown.tree, found->inode).size());
    }
    for (const auto& config : configs)
        CHECK(std::any_of(names.begin(), names.end(), [&](const auto& name) {
            return content_of(shown.tree, shown.tree.find(mount::kRootInode, name)->inode) ==
                   "config " + config;
        }));
}

TEST_CASE("law: a tree shows what the guest has") {
    for (unsigned seed = 1; seed <= 20; ++seed) {
        CAPTURE(seed);
        const auto guest = testing::random_guest(seed);
        Shown shown(guest, seed);
        CHECK(shown.names().size() == guest.disks.size() + guest.configs.size() + 1);
        for (const auto& entry : shown.entries()) {
            CHECK(shown.tree.attributes(entry.attributes.inode)->size_bytes == entry.attributes.size_bytes);
            CHECK(entry.attributes.modified.tv_sec == 1000);
        }
        for (const auto& device : shown.index->header().devices) {
            const auto disk = std::find_if(guest.disks.begin(), guest.disks.end(),
                                           [&](const auto& one) { return one.name == device.name; });
            REQUIRE(disk != guest.disks.end());
            const auto names = shown.names();
            const auto number = static_cast<std::size_t>(&device - shown.index->header().devices.data());
            const auto entry = shown.tree.find(mount::kRootInode, names[number]).value();
            CHECK(entry.size_bytes == disk->size_bytes);
            const auto content = content_of(shown.tree, entry.inode);
            testing::Bytes block(4096);
            bool is_same = true;
            for (std::uint64_t offset = 0; offset < disk->size_bytes; offset += block.size()) {
                disk->read_block(offset / block.size(), block.data());
                const auto size = std::min<std::uint64_t>(block.size(), disk->size_bytes - offset);
                is_same = is_same && std::memcmp(block.data(), content.data() + offset, size) == 0;
            }
            CHECK(is_same);
        }
    }
}

TEST_CASE("law: ranges tell the blocks that are stored, and their sum is what the file takes") {
    for (unsigned seed = 1; seed <= 10; ++seed) {
        CAPTURE(seed);
        Shown shown(testing::random_guest(seed), seed);
        for (const auto& device : shown.index->header().devices) {
            const auto number = static_cast<std::size_t>(&device - shown.index->header().devices.data());
            const auto entry = shown.entries()[number].attributes;
            const auto file = shown.tree.open(entry.inode);
            const auto content = content_of(shown.tree, entry.inode);
            std::uint64_t stored = 0;
            for (std::uint64_t offset = 0; offset < entry.size_bytes;) {
                const auto range = file->range_at(offset);
                REQUIRE(range.end > offset);
                REQUIRE(range.end <= entry.size_bytes);
                if (range.stored)
                    stored += base::divide_up<std::uint64_t>(range.end - offset, 4096) * 4096;
                else
                    CHECK(content.find_first_not_of('\0', offset) >= range.end);
                offset = range.end;
            }
            CHECK(stored == entry.stored_bytes);
        }
    }
}

TEST_CASE("what is not there is not found") {
    Shown shown(named_guest({"a"}, {"drive-scsi0"}));
    CHECK_FALSE(shown.tree.find(mount::kRootInode, "b"));
    CHECK_FALSE(shown.tree.find(2, "a"));
    CHECK_FALSE(shown.tree.entries(2));
    for (const mount::Inode inode : {mount::Inode{0}, mount::Inode{5}, ~mount::Inode{0}}) {
        CHECK_FALSE(shown.tree.attributes(inode));
        CHECK(shown.tree.open(inode) == nullptr);
    }
    CHECK(shown.tree.open(mount::kRootInode) == nullptr);
}
