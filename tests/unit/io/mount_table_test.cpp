#include "io/mount_table.hpp"

#include <string>

#include <doctest/doctest.h>

#include "base/error.hpp"
#include "support/fault_file_system.hpp"
#include "support/temporary_directory.hpp"

using namespace vmad;
using namespace vmad::io;
using support::TemporaryDirectory;

namespace {

MountTable table_of(const std::string& text) {
    const TemporaryDirectory place;
    place.write("mountinfo", text);
    FileSystem fs;
    return MountTable::read(fs, place / "mountinfo");
}

std::string line(int id, int parent, const std::string& device, const std::string& mount_point,
                 const std::string& tags = "shared:1 ") {
    return std::to_string(id) + ' ' + std::to_string(parent) + ' ' + device + " / " + mount_point +
           " rw,relatime " + tags + "- ext4 /dev/" + device + " rw\n";
}

/// Devices are names enough in these tests.
std::string device_at(const MountTable& table, const std::string& path) {
    const Mount* mount = table.find(path);
    return mount ? mount->device : "none";
}

}  // namespace

TEST_CASE("a path lies on the longest mount point by whole components") {
    const MountTable table = table_of(line(22, 1, "8:1", "/") + line(23, 22, "8:2", "/mnt") +
                                      line(24, 23, "8:3", "/mnt/dump") + line(25, 22, "8:4", "/mnt-2"));
    const std::pair<const char*, const char*> expected[] = {
        {"/", "8:1"},          {"/etc", "8:1"},        {"/mnt", "8:2"},         {"/mnt/", "8:2"},
        {"/mnt/dum", "8:2"},   {"/mnt/dump", "8:3"},   {"/mnt/dump/a", "8:3"},  {"/mnt/dump/a/b/c", "8:3"},
        {"/mnt/dump2", "8:2"}, {"/mnt-2/dump", "8:4"}, {"/mnt-22/dump", "8:1"}, {"/mn", "8:1"},
    };
    for (const auto& [path, device] : expected) {
        CAPTURE(path);
        CHECK(device_at(table, path) == device);
    }
}

TEST_CASE("the parts of a mount are told, with their escapes undone") {
    const MountTable table = table_of(
        "22 1 8:1 / / rw - ext4 /dev/sda1 rw,errors=remount-ro\n"
        "40 22 0:45 /export /mnt/my\\040nas\\011\\134\\043x rw master:1 propagate_from:2 unbindable - "
        "nfs4 server:/my\\040export rw,vers=4.2\n"
        "41 22 0:46 / /odd\\04 rw - fuse.odd  rw\n");
    const Mount* nas = table.find("/mnt/my nas\t\\#x/dump/a.vma");
    REQUIRE(nas != nullptr);
    CHECK(*nas == Mount{"/mnt/my nas\t\\#x", "0:45", "nfs4", "server:/my export"});
    CHECK(*table.find("/odd\\04/x") == Mount{"/odd\\04", "0:46", "fuse.odd", ""});
}

TEST_CASE("the later of two mounts on one place is on top") {
    const MountTable table = table_of(line(22, 1, "8:1", "/") + line(30, 22, "8:2", "/mnt") +
                                      line(31, 30, "8:3", "/mnt") + line(32, 31, "8:4", "/mnt/a"));
    CHECK(device_at(table, "/mnt/x") == "8:3");
    CHECK(device_at(table, "/mnt/a/x") == "8:4");
}

TEST_CASE("a mount over a parent hides what was mounted below it") {
    const MountTable table = table_of(line(22, 1, "8:1", "/") + line(30, 22, "8:2", "/mnt") +
                                      line(31, 30, "8:3", "/mnt/nas") + line(32, 30, "8:4", "/mnt"));
    CHECK(device_at(table, "/mnt/nas/dump") == "8:4");
}

TEST_CASE("the order of the lines is no matter: the root comes after what was moved into it") {
    const MountTable table = table_of(line(24, 29, "0:6", "/dev") + line(25, 24, "0:23", "/dev/shm") +
                                      line(29, 1, "8:1", "/") + line(26, 29, "0:22", "/sys"));
    CHECK(device_at(table, "/dev/shm/x") == "0:23");
    CHECK(device_at(table, "/dev/x") == "0:6");
    CHECK(device_at(table, "/sys/x") == "0:22");
    CHECK(device_at(table, "/home") == "8:1");
}

TEST_CASE("an initial root under the real one does not count") {
    const MountTable table =
        table_of(line(1, 1, "0:2", "/") + line(22, 1, "8:1", "/") + line(23, 22, "8:2", "/mnt"));
    CHECK(device_at(table, "/mnt/x") == "8:2");
    CHECK(device_at(table, "/x") == "8:1");
}

TEST_CASE("in a chroot there may be nothing at the root") {
    const MountTable table = table_of(line(40, 7, "8:2", "/mnt"));
    CHECK(device_at(table, "/x") == "none");
    CHECK(device_at(table, "/mnt/x") == "8:2");
    CHECK(device_at(table_of(""), "/") == "none");
}

TEST_CASE("mounts on each other in a circle end the search, not the program") {
    const MountTable table =
        table_of(line(1, 0, "8:1", "/") + line(2, 3, "8:2", "/mnt") + line(3, 2, "8:3", "/mnt"));
    CHECK(device_at(table, "/mnt/x") == "8:1");
    const MountTable entered =
        table_of(line(1, 0, "8:1", "/") + line(2, 1, "8:2", "/mnt") + line(2, 2, "8:2", "/mnt") +
                 line(3, 2, "8:3", "/mnt") + line(2, 3, "8:4", "/mnt"));
    CHECK(entered.find("/mnt/x") != nullptr);
}

TEST_CASE("a line that makes no sense is named") {
    const std::string good = line(22, 1, "8:1", "/");
    const std::pair<std::string, std::string> bad[] = {
        {"\n", "too few fields"},
        {"22 1 8:1 / / rw\n", "too few fields"},
        {"22 1 8:1 / / rw -\n", "too few fields"},
        {"22 1 8:1 / / rw - ext4\n", "too few fields"},
        {"22 1 8:1 / - ext4 /dev/sda1 rw\n", "too few fields"},
        {"x 1 8:1 / / rw - ext4 /dev/sda1 rw\n", "\"x\" is not the id of a mount"},
        {"22 1x 8:1 / / rw - ext4 /dev/sda1 rw\n", "\"1x\" is not the id of a mount"},
        {"22  1 8:1 / / rw - ext4 /dev/sda1 rw\n", "\"\" is not the id of a mount"},
        {"-2 1 8:1 / / rw - ext4 /dev/sda1 rw\n", "\"-2\" is not the id of a mount"},
        {"99999999999 1 8:1 / / rw - ext4 /dev/sda1 rw\n", "\"99999999999\" is not the id of a mount"},
    };
    for (const auto& [text, message] : bad) {
        CAPTURE(text);
        const TemporaryDirectory place;
        place.write("mountinfo", good + text);
        FileSystem fs;
        const std::string whole = place / "mountinfo" + ":2: " + message;
        CHECK_THROWS_WITH_AS(MountTable::read(fs, place / "mountinfo"), whole.c_str(), base::Error);
    }
}

TEST_CASE("the kernel's own table is understood, and only that file is touched") {
    support::FaultFileSystem fs;
    fs.before = [](const support::Call& call) { CHECK(call.path == "/proc/self/mountinfo"); };
    const MountTable table = MountTable::read(fs);
    const auto calls = fs.calls();
    REQUIRE(table.find("/proc/self/status") != nullptr);
    CHECK(table.find("/proc/self/status")->type == "proc");
    // In a plain chroot nothing is mounted at "/".
    const auto* root = table.find("/");
    CHECK(table.find("/nonexistent/and/never/looked/at") == root);
    CHECK(fs.calls() == calls);
}
