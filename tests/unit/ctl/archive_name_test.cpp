#include "ctl/operands/archive_name.hpp"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include <doctest/doctest.h>

#include "base/error.hpp"
#include "support/temporary_directory.hpp"

using namespace vmad;

namespace {

ctl::ArchiveName archive_name(io::FileSystem& fs, const std::string& word) {
    ctl::Console console;
    return ctl::archive_name(fs, console, word);
}

/// A node with storages, and its directory as the current one.
class Node {
  public:
    Node() : before_(std::filesystem::current_path()) {
        std::filesystem::create_directories(root_ / "etc/pve");
        std::filesystem::create_directories(root_ / "local:backup");
        root_.write("etc/pve/storage.cfg", "dir: a\n\tpath /srv/a\n\npbs: p\n\tserver s\n");
        ::setenv("VMAD_ROOT", root_.path().c_str(), 1);
        std::filesystem::current_path(root_.path());
    }
    ~Node() {
        std::filesystem::current_path(before_);
        ::unsetenv("VMAD_ROOT");
    }
    Node(const Node&) = delete;
    Node& operator=(const Node&) = delete;

    [[nodiscard]] const support::TemporaryDirectory& root() const { return root_; }

  private:
    std::filesystem::path before_;
    support::TemporaryDirectory root_;
};

}  // namespace

TEST_CASE("a volume id is the path of a file on its storage") {
    const Node node;
    io::FileSystem fs;
    const auto name = archive_name(fs, "a:backup/x.vma");
    CHECK(name.path == "/srv/a/dump/x.vma");
    CHECK(name.storage == "a");
    CHECK(archive_name(fs, "local:backup/x.vma").path == "/var/lib/vz/dump/x.vma");
}

TEST_CASE("every other word is a path as it stands") {
    const Node node;
    io::FileSystem fs;
    for (const char* word : {"", "-", "x.vma", "/srv/a/dump/x.vma", "./a:backup/x.vma", "./a:iso/x.iso",
                             "a:x.vma", "17", "../a:backup/x"}) {
        CAPTURE(word);
        CHECK(archive_name(fs, word).path == word);
        CHECK(archive_name(fs, word).storage.empty());
    }
}

TEST_CASE("a volume that is no backup is refused with what it is") {
    const Node node;
    io::FileSystem fs;
    for (const auto& [word, content] : {std::pair{"a:iso/x.iso", "an ISO image"},
                                        {"nas:vztmpl/debian-12.tar.zst", "a container template"},
                                        {"a:snippets/hook.pl", "a snippet"},
                                        {"a:import/x.ova", "an image to import"},
                                        {"local-lvm:vm-100-disk-0", "a disk of a guest"},
                                        {"a:100/vm-100-disk-0.qcow2", "a disk of a guest"},
                                        {"zfs:subvol-101-disk-0", "a disk of a guest"}}) {
        CAPTURE(word);
        CHECK_THROWS_WITH_AS((void)archive_name(fs, word),
                             ("\"" + std::string(word) + "\" is " + content +
                              ", not a backup: a backup's volume ID is STORAGE:backup/NAME")
                                 .c_str(),
                             base::UsageError);
    }
    std::filesystem::create_directories(node.root() / "a:iso");
    node.root().write("a:iso/x.iso", "");
    CHECK(archive_name(fs, "a:iso/x.iso").path == "a:iso/x.iso");
}

TEST_CASE("a file that has the name of a volume id comes first") {
    const Node node;
    io::FileSystem fs;
    node.root().write("local:backup/x.vma", "");
    CHECK(archive_name(fs, "local:backup/x.vma").path == "local:backup/x.vma");
    CHECK(archive_name(fs, "local:backup/y.vma").path == "/var/lib/vz/dump/y.vma");
}

TEST_CASE("a volume id without a storage is refused") {
    const Node node;
    io::FileSystem fs;
    const auto config = node.root() / "etc/pve/storage.cfg";
    CHECK_THROWS_WITH_AS((void)archive_name(fs, "nas:backup/x"), ("no storage \"nas\" in " + config).c_str(),
                         base::UsageError);
    CHECK_THROWS_WITH_AS((void)archive_name(fs, "p:backup/x"),
                         "the storage \"p\" is of type pbs, which does not store archives as files",
                         base::UsageError);
    node.root().remove("etc/pve/storage.cfg");
    CHECK_THROWS_WITH_AS((void)archive_name(fs, "a:backup/x"),
                         ("no such file: a:backup/x; it cannot be a volume ID either, because there is no "
                          "Proxmox VE storage configuration (open " +
                          config + ": No such file or directory)")
                             .c_str(),
                         base::Error);
}
