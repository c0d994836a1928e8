#include "pve/storage_config.hpp"

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

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

TEST_CASE("what makes no sense is left out with a warning, as Proxmox does, and other storages remain") {
    // Between two storages that are as they should be.
    const std::string before = "dir: one\n\tpath /1\n\n", after = "\nnfs: two\n\tserver s\n";
    const struct {
        const char* text;  ///< from line 4 on
        std::vector<std::string> warnings;
        const char* dump_directory;  ///< of "a"
    } cases[] = {
        {"dir a\n",
         {"f:4: ignored \"dir a\", which does not begin a section (TYPE: ID)"},
         "no storage \"a\" in f"},
        {"dir: 9a\n", {"f:4: \"9a\" is not the name of a storage, and is skipped"}, "no storage \"a\" in f"},
        {"dir: a\n\tcontent backup\n",
         {"f:4: the storage \"a\" has no path, and is skipped"},
         "f:4: the storage \"a\" has no path"},
        {"dir: a\n\tpath a/b\n",
         {"f:5: ignored \"path\" of \"a\": \"a/b\" is not an absolute path",
          "f:4: the storage \"a\" has no path, and is skipped"},
         "f:4: the storage \"a\" has no path"},
        {"dir: a\n\tpath a/b\n\tpath /a\n",
         {"f:5: ignored \"path\" of \"a\": \"a/b\" is not an absolute path"},
         "/a/dump"},
        {"dir: a\n\tpath /a\n\tpath /b\n", {"f:6: ignored a second \"path\" of \"a\""}, "/a/dump"},
        {"nfs: a\n\tpath\n",
         {"f:5: ignored \"path\" of \"a\": \"\" is not an absolute path"},
         "/mnt/pve/a/dump"},
        {"dir: a\n\tpath /a\n\tis_mountpoint perhaps\n",
         {"f:6: the storage \"a\" has an is_mountpoint that is neither 1, 0 nor an absolute path, and is "
          "skipped"},
         "f:6: the storage \"a\" has an is_mountpoint that is neither 1, 0 nor an absolute path"},
        {"dir: a\n\tpath /a\n\tdisable perhaps\n",
         {"f:6: ignored \"disable\" of \"a\": \"perhaps\" is neither 1 nor 0"},
         "/a/dump"},
        {"dir: a\n\tpath /a\n\tnodes\n", {"f:6: ignored \"nodes\" of \"a\": it has no value"}, "/a/dump"},
        {"dir: a\n\tpath /a\n\tcontent-dirs backup=\n",
         {"f:6: ignored \"content-dirs\" of \"a\": \"\" is not a path below the storage's directory"},
         "/a/dump"},
        {"dir: a\n\tpath /a\n\tcontent-dirs iso=x,backup=../b\n",
         {"f:6: ignored \"content-dirs\" of \"a\": \"../b\" is not a path below the storage's directory"},
         "/a/dump"},
        {"dir: a\n\tpath /a\n\tcontent-dirs backup=b/..\n",
         {"f:6: ignored \"content-dirs\" of \"a\": \"b/..\" is not a path below the storage's directory"},
         "/a/dump"},
        {"dir: a\npath /a\n\tpath /b\n \n\tdisable\n",
         {"f:5: ignored \"path /a\", which is not indented; an empty line ends section \"a\"",
          "f:7: white space does not end section \"a\"; an empty line does"},
         "/b/dump"},
        {"dir: a\n\tpath /a\n\ndir: a\n\tpath /b\n",
         {"f:7: this section \"a\" replaces the one of line 4"},
         "/b/dump"},
        {"dir: a\n\tpath /a\n\ndir: a\n",
         {"f:7: this section \"a\" replaces the one of line 4",
          "f:7: the storage \"a\" has no path, and is skipped"},
         "f:7: the storage \"a\" has no path"},
    };
    for (const auto& [text, warnings, dump_directory] : cases) {
        CAPTURE(text);
        const auto config = StorageConfig::parse(before + text + after, "f", "node1");
        CHECK(config.warnings() == warnings);
        CHECK(config.file_storage("one").path == "/1");
        CHECK(config.file_storage("two").path == "/mnt/pve/two");
        CHECK(config.file_storage("local").path == "/var/lib/vz");
        std::string directory;
        try {
            directory = config.file_storage("a").dump_directory;
        } catch (const base::Error& error) {
            directory = error.what();
        }
        CHECK(directory == dump_directory);
    }
}

TEST_CASE("the warnings leave out what file_storage() says of the storage that is wanted") {
    const auto config = parse("dir: a\n\ndir: b\n");
    CHECK(config.warnings("a") ==
          std::vector<std::string>{"storage.cfg:3: the storage \"b\" has no path, and is skipped"});
    CHECK(config.storages().size() == 1);
}

TEST_CASE("a local whose mount point makes no sense is not taken for a plain directory") {
    const auto config = parse("dir: local\n\tis_mountpoint perhaps\n");
    CHECK(config.storages().empty());
    CHECK(config.warnings().size() == 1);
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
    CHECK_THROWS_WITH((void)StorageConfig::read(fs).file_storage("a"),
                      (root / "etc/pve/storage.cfg:1: the storage \"a\" has no path").c_str());
    ::unsetenv("VMAD_ROOT");
}

}  // namespace
}  // namespace vmad::pve
