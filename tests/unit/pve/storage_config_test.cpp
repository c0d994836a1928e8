#include "pve/storage_config.hpp"

#include <cstdlib>
#include <filesystem>
#include <string>

#include <doctest/doctest.h>

#include "base/error.hpp"
#include "support/temporary_directory.hpp"

namespace vmad::pve {
namespace {

StorageConfig parse(const std::string& text) { return StorageConfig::parse(text, "storage.cfg", "node1"); }

/// The storage of a file that has one section, and no "local".
Storage only(const std::string& text) {
    const auto config = parse(text);
    REQUIRE(config.storages().size() == 2);
    return config.storages()[1];
}

TEST_CASE("each type that holds files knows where they are") {
    const struct {
        const char* text;
        Storage storage;
    } cases[] = {
        {"dir: a\n\tpath /mnt/a\n\tcontent backup\n", {"a", "dir", "/mnt/a", "/mnt/a/dump", "", true, true}},
        {"dir: a\n\tpath /mnt//a/./\n", {"a", "dir", "/mnt/a", "/mnt/a/dump", "", false, true}},
        {"dir: a\n\tpath /\n\tcontent iso;backup\n", {"a", "dir", "/", "/dump", "", true, true}},
        {"dir: a\n\tpath /a\n\tis_mountpoint 1\n", {"a", "dir", "/a", "/a/dump", "/a", false, true}},
        {"dir: a\n\tpath /a\n\tis_mountpoint No\n", {"a", "dir", "/a", "/a/dump", "", false, true}},
        {"dir: a\n\tpath /a/b\n\tis_mountpoint /a\n", {"a", "dir", "/a/b", "/a/b/dump", "/a", false, true}},
        {"btrfs: a\n\tpath /a\n\tis_mountpoint yes\n\tcontent images\n",
         {"a", "btrfs", "/a", "/a/dump", "/a", false, true}},
        {"nfs: a\n\tserver s\n\texport /e\n\tcontent backup,iso\n",
         {"a", "nfs", "/mnt/pve/a", "/mnt/pve/a/dump", "/mnt/pve/a", true, true}},
        {"cifs: a\n\tpath /c\n\tcontent backup\n\tcontent-dirs iso=i,backup=b/c\n",
         {"a", "cifs", "/c", "/c/b/c", "/c", true, true}},
        {"cephfs: a\n", {"a", "cephfs", "/mnt/pve/a", "/mnt/pve/a/dump", "/mnt/pve/a", true, true}},
        {"cephfs: a\n\tcontent iso\n",
         {"a", "cephfs", "/mnt/pve/a", "/mnt/pve/a/dump", "/mnt/pve/a", false, true}},
        {"glusterfs: a\n", {"a", "glusterfs", "/mnt/pve/a", "/mnt/pve/a/dump", "/mnt/pve/a", false, true}},
        {"DIR: a\n\tpath /a\n\tcontent-dirs iso=x\n", {"a", "dir", "/a", "/a/dump", "", false, true}},
    };
    for (const auto& [text, storage] : cases) {
        CAPTURE(text);
        CHECK(only(text) == storage);
    }
}

TEST_CASE("a storage is enabled unless it is disabled or for other nodes") {
    const struct {
        const char* properties;
        bool enabled;
    } cases[] = {
        {"", true},
        {"\tdisable\n", false},
        {"\tdisable 1\n", false},
        {"\tdisable yes\n", false},
        {"\tdisable 0\n", true},
        {"\tdisable off\n", true},
        {"\tnodes node1\n", true},
        {"\tnodes node2,node1\n", true},
        {"\tnodes node2 node3\n", false},
        {"\tnodes node11,ode1\n", false},
        {"\tnodes node1\n\tdisable\n", false},
    };
    for (const auto& [properties, enabled] : cases) {
        CAPTURE(properties);
        CHECK(only(std::string("dir: a\n\tpath /a\n") + properties).enabled == enabled);
    }
}

TEST_CASE("local is always the directory that Proxmox takes it for") {
    const Storage standard{"local", "dir", "/var/lib/vz", "/var/lib/vz/dump", "", true, true};
    for (const char* text :
         {"", "# empty\n", "dir: local\n\tpath /var/lib/vz/\n\tcontent backup,iso\n",
          "dir: local\n\tcontent backup\n\tnodes other\n", "dir: local\n\tpath /elsewhere\n\tdisable\n",
          "nfs: local\n\tserver s\n", "lvmthin: local\n\tvgname pve\n"}) {
        CAPTURE(text);
        CHECK(parse(text).file_storage("local") == standard);
    }
    CHECK_FALSE(parse("dir: local\n\tdisable\n").file_storage("local").enabled);
    CHECK_FALSE(parse("dir: local\n\tcontent iso\n").file_storage("local").holds_backups);
}

TEST_CASE("a storage that makes no sense is named by file and line") {
    const struct {
        const char* text;
        const char* message;
    } cases[] = {
        {"dir: a\n\tcontent backup\n", "storage.cfg:1: the storage \"a\" has no path"},
        {"\n\nbtrfs: a\n", "storage.cfg:3: the storage \"a\" has no path"},
        {"dir: a\n\tpath a/b\n", "storage.cfg:2: \"a/b\" is not an absolute path"},
        {"nfs: a\n\tpath\n", "storage.cfg:2: \"\" is not an absolute path"},
        {"dir: a\n\tpath /a\n\tis_mountpoint perhaps\n",
         "storage.cfg:3: \"perhaps\" is not an absolute path"},
        {"dir: a\n\tpath /a\n\tdisable perhaps\n",
         "storage.cfg:3: \"perhaps\" is neither 1 nor 0: does it disable the storage?"},
        {"dir: a\n\tpath /a\n\tcontent-dirs backup=\n",
         "storage.cfg:3: \"\" is not a path below the storage's directory"},
        {"dir: a\n\tpath /a\n\tcontent-dirs iso=x,backup=../b\n",
         "storage.cfg:3: \"../b\" is not a path below the storage's directory"},
        {"dir: a\n\tpath /a\n\tcontent-dirs backup=b/..\n",
         "storage.cfg:3: \"b/..\" is not a path below the storage's directory"},
        {"dir a\n", "storage.cfg:1: \"dir a\" does not begin a section: TYPE: ID"},
    };
    for (const auto& [text, message] : cases) {
        CAPTURE(text);
        CHECK_THROWS_WITH_AS(parse(text), message, base::Error);
    }
}

TEST_CASE("what other types have is not looked at") {
    const auto config = parse("zfspool: z\n\tpool p\n\tdisable maybe\n\npbs: p\n\tserver s\n\tpath x\n");
    CHECK(config.storages().size() == 1);
}

TEST_CASE("a volume id is told from a path") {
    CHECK(parse_volume_id("local:backup/vzdump.vma") == VolumeId{"local", "vzdump.vma"});
    CHECK(parse_volume_id("a.B_c-9:backup/") == VolumeId{"a.B_c-9", ""});
    CHECK(parse_volume_id("l:backup/a:b/../c") == VolumeId{"l", "a:b/../c"});
    for (const char* text : {"", ":", ":backup/x", "local:", "local:backup", "local:iso/x.iso", "9l:backup/x",
                             "/local:backup/x", "./local:backup/x", "lo cal:backup/x", "-l:backup/x",
                             "local:Backup/x", "local/backup/x", "löcal:backup/x", " local:backup/x"}) {
        CAPTURE(text);
        CHECK(parse_volume_id(text) == std::nullopt);
    }
}

constexpr char kNode[] =
    "dir: big\n\tpath /srv/big\n\tcontent images\n\tdisable\n\n"
    "dir: root\n\tpath /\n\tcontent-dirs backup=.\n\n"
    "pbs: pbs1\n\tserver s\n\tdatastore d\n\n"
    "lvmthin: thin\n\tvgname v\n";

TEST_CASE("a volume id names a file in the dump directory, whether or not the storage is enabled") {
    const auto config = parse(kNode);
    CHECK(config.path_of({"local", "x.vma"}) == "/var/lib/vz/dump/x.vma");
    CHECK(config.path_of({"big", "..x"}) == "/srv/big/dump/..x");
    CHECK(config.path_of({"root", "x"}) == "/x");
}

TEST_CASE("a volume id without a file is refused") {
    const struct {
        VolumeId volume;
        const char* message;
    } cases[] = {
        {{"nas", "x"}, "no storage \"nas\" in storage.cfg"},
        {{"LOCAL", "x"}, "no storage \"LOCAL\" in storage.cfg"},
        {{"pbs1", "x"}, "the storage \"pbs1\" is of type pbs, which does not store archives as files"},
        {{"thin", "x"}, "the storage \"thin\" is of type lvmthin, which does not store archives as files"},
        {{"local", ""}, "\"local:backup/\" is not a backup: \"\" is not a file name"},
        {{"local", ".."}, "\"local:backup/..\" is not a backup: \"..\" is not a file name"},
        {{"local", "."}, "\"local:backup/.\" is not a backup: \".\" is not a file name"},
        {{"local", "../x"}, "\"local:backup/../x\" is not a backup: \"../x\" is not a file name"},
        {{"local", "a/b"}, "\"local:backup/a/b\" is not a backup: \"a/b\" is not a file name"},
        {{"local", "/x"}, "\"local:backup//x\" is not a backup: \"/x\" is not a file name"},
    };
    const auto config = parse(kNode);
    for (const auto& [volume, message] : cases) {
        CAPTURE(volume.name);
        CHECK_THROWS_WITH_AS((void)config.path_of(volume), message, base::UsageError);
    }
}

TEST_CASE("the file of this node is read") {
    const support::TemporaryDirectory root;
    ::setenv("VMAD_ROOT", root.path().c_str(), 1);
    io::FileSystem fs;
    CHECK_THROWS_AS((void)StorageConfig::read(fs), base::SystemError);
    std::filesystem::create_directories(root / "etc/pve");
    root.write("etc/pve/storage.cfg", "dir: a\n\tpath /a\n");
    CHECK(StorageConfig::read(fs).file_storage("a").dump_directory == "/a/dump");
    root.write("etc/pve/storage.cfg", "dir: a\n");
    CHECK_THROWS_WITH((void)StorageConfig::read(fs),
                      (root / "etc/pve/storage.cfg:1: the storage \"a\" has no path").c_str());
    ::unsetenv("VMAD_ROOT");
}

}  // namespace
}  // namespace vmad::pve
