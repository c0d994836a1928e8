#include "publish/archive_target.hpp"

#include <linux/fs.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include <doctest/doctest.h>

#include "support/fault_file_system.hpp"
#include "support/temporary_directory.hpp"

using namespace vmad;
using namespace vmad::io;
using namespace vmad::publish;
using vmad::support::FaultFileSystem;
using vmad::support::TemporaryDirectory;
namespace filesystem = std::filesystem;

namespace {

constexpr std::int64_t kNow = 1'700'000'000;

/// A storage "dump" below a temporary directory, with one archive of a good age in it.
struct Place {
    TemporaryDirectory base;
    FileSystem fs;
    std::string dump = base / "dump";
    std::string archive = dump + "/a.vma";

    Place() {
        filesystem::create_directory(dump);
        base.write("dump/a.vma", "content");
        base.set_modified("dump/a.vma", {kNow - 3600, 5});
    }
    OpenedTarget open(const std::string& path, const std::vector<std::string>& directories,
                      bool announced = false) {
        return open_target(fs, open_entry(fs, path, directories), announced, kNow);
    }
    OpenedTarget open() { return open(archive, {dump}); }
    std::string refusal(const std::string& path, const std::vector<std::string>& directories) {
        try {
            (void)open(path, directories);
        } catch (const vmad::base::Error& error) {
            return error.what();
        }
        return "";
    }
};

}  // namespace

TEST_CASE("an archive is opened with its directory, and remembered") {
    Place place;
    for (const auto& directories : {std::vector<std::string>{},
                                    {place.dump},
                                    {place.base.path()},
                                    {"/"},
                                    {"/nowhere", place.dump + "//"}}) {
        auto opened = place.open(place.archive, directories);
        REQUIRE(std::holds_alternative<ArchiveTarget>(opened));
        const auto& target = std::get<ArchiveTarget>(opened);
        CHECK(target.name == "a.vma");
        CHECK(target.identity == identity_of(place.fs.status(target.file)));
        CHECK(target.identity.mark.size_bytes == 7);
        CHECK(target.identity.mark.modified_ns == (kNow - 3600) * 1'000'000'000 + 5);
        CHECK(target.directory.entry(target.name) == place.archive);
    }
    CHECK(std::holds_alternative<ArchiveTarget>(place.open(place.dump + "/.//a.vma", {place.dump})));
}

TEST_CASE("an archive that is not there has vanished, a directory that is not there is waited for") {
    Place place;
    CHECK(std::holds_alternative<Vanished>(place.open(place.dump + "/b.vma", {place.dump})));
    CHECK(std::holds_alternative<Vanished>(place.open(place.dump + "/b.vma", {})));
    const auto gone = place.base / "gone";
    CHECK_THROWS_WITH_AS((void)place.open(gone + "/a.vma", {gone}),
                         ("the directory " + gone + " is not there: is its storage mounted?").c_str(),
                         StorageMissing);
    CHECK_THROWS_WITH_AS((void)place.open(gone + "/a.vma", {}),
                         ("the directory " + gone + " is not there: is its storage mounted?").c_str(),
                         StorageMissing);
    CHECK_THROWS_WITH_AS((void)place.open(gone + "/dump/a.vma", {place.base.path()}),
                         ("the directory " + gone + "/dump is not there: is its storage mounted?").c_str(),
                         StorageMissing);
}

TEST_CASE("an archive that nobody announced must be a minute old") {
    Place place;
    const auto ready_in = [&](std::int64_t age, bool announced) {
        place.base.set_modified("dump/a.vma", {kNow - age, 0});
        const auto opened = place.open(place.archive, {place.dump}, announced);
        const auto* young = std::get_if<TooYoung>(&opened);
        return young ? young->ready_in_seconds : 0;
    };
    CHECK(ready_in(60, false) == 0);
    CHECK(ready_in(59, false) == 1);
    CHECK(ready_in(0, false) == 60);
    CHECK(ready_in(-59, false) == 119);
    CHECK(ready_in(-60, false) == 0);
    CHECK(ready_in(-100'000'000, false) == 0);
    CHECK(ready_in(0, true) == 0);
}

TEST_CASE("what may not be replaced is refused with what to do") {
    Place place;
    const auto& dump = place.dump;
    filesystem::create_directory(dump + "/directory");
    filesystem::create_symlink("a.vma", dump + "/link.vma");
    filesystem::create_symlink("nowhere", dump + "/dangling.vma");
    filesystem::create_symlink(dump, place.base / "linked");
    filesystem::create_directory(place.base / "other");
    place.base.write("dumpling", "");
    CHECK(::mkfifo((dump + "/fifo").c_str(), 0600) == 0);
    place.base.write("dump/twice.vma", "x");
    filesystem::create_hard_link(dump + "/twice.vma", dump + "/again.vma");
    const auto all = place.base.path();

    struct Row {
        std::string path;
        std::vector<std::string> directories;
        std::string message;
    };
    const Row rows[] = {
        {"a.vma", {}, "a.vma is not an absolute path: name the archive from the root on"},
        {"", {}, " is not an absolute path: name the archive from the root on"},
        {dump + "/../dump/a.vma",
         {dump},
         dump + "/../dump/a.vma has \"..\" in it: name the archive by its real path"},
        {dump + "/a.vma/", {dump}, dump + "/a.vma/ names a directory: name the archive in it"},
        {dump + "/.", {dump}, dump + "/. names a directory: name the archive in it"},
        {"/", {}, "/ names a directory: name the archive in it"},
        {dump + std::string("/a\0b", 4), {dump}, "the path " + dump + "/a has a NUL byte in it"},
        {dump + "/.vmad-0123456789abcdef.old",
         {dump},
         dump + "/.vmad-0123456789abcdef.old is a temporary file of vmad, not an archive"},
        {all + "/dumpling",
         {dump, "/srv"},
         all + "/dumpling is not below a configured directory (" + dump +
             ", /srv): add its directory to `directories`, or name the archive by its path below one of "
             "them"},
        {dump,
         {dump},
         dump + " is not below a configured directory (" + dump +
             "): add its directory to `directories`, or name the archive by its path below one of them"},
        {dump + "/link.vma",
         {dump},
         dump + "/link.vma is a symbolic link: name the archive by its real path"},
        {dump + "/link.vma", {}, dump + "/link.vma is a symbolic link: name the archive by its real path"},
        {dump + "/dangling.vma",
         {dump},
         dump + "/dangling.vma is a symbolic link: name the archive by its real path"},
        {all + "/linked/a.vma",
         {all},
         "a symbolic link is on the way to " + all + "/linked: name the archive by its real path"},
        {dump + "/directory", {dump}, dump + "/directory is not a regular file"},
        {dump + "/fifo", {dump}, dump + "/fifo is not a regular file"},
        {dump + "/twice.vma",
         {dump},
         dump + "/twice.vma has 2 hard links, and the others would keep the old content: remove them, or "
                "replace "
                "the archive by a copy"},
    };
    for (const auto& row : rows) {
        CAPTURE(row.path);
        CHECK(place.refusal(row.path, row.directories) == row.message);
    }
    // In the configured path itself, and with none configured, links are the administrator's own.
    CHECK(place.refusal(all + "/linked/a.vma", {all + "/linked"}).empty());
    CHECK(place.refusal(all + "/linked/a.vma", {}).empty());
}

TEST_CASE("a socket is refused") {
    Place place;
    const auto path = place.dump + "/socket";
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    REQUIRE(path.size() < sizeof address.sun_path);
    std::memcpy(address.sun_path, path.c_str(), path.size());
    const vmad::base::UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    CHECK(place.refusal(path, {place.dump}) == path + " is not a regular file");
}

TEST_CASE("of several directories that hold the archive the closest one counts") {
    // The way below it has no link; below the other one it has.
    Place place;
    filesystem::create_symlink(place.dump, place.base / "link");
    filesystem::create_directory(place.dump + "/sub");
    place.base.write("dump/sub/a.vma", "x");
    const auto path = place.base / "link/sub/a.vma";
    CHECK(place.refusal(path, {place.base / "link", place.base.path()}).empty());
    CHECK(place.refusal(path, {place.base.path(), place.base / "link"}).empty());
    CHECK_FALSE(place.refusal(path, {place.base.path()}).empty());
}

TEST_CASE("an immutable or append-only archive or directory is refused before any work") {
    struct Flagged : FileSystem {
        unsigned flags = 0;
        std::string path;
        unsigned inode_flags(const File& file) override { return file.path() == path ? flags : 0; }
    };
    Place place;
    Flagged fs;
    const auto refusal = [&](const std::string& path, unsigned flags) {
        fs.path = path;
        fs.flags = flags;
        try {
            (void)open_target(fs, open_entry(fs, place.archive, {place.dump}), false, kNow);
        } catch (const vmad::base::Error& error) {
            return std::string(error.what());
        }
        return std::string();
    };
    for (const auto& path : {place.archive, place.dump}) {
        CHECK(refusal(path, FS_IMMUTABLE_FL | FS_EXTENT_FL) ==
              path + " is immutable: \"chattr -i\" would allow to replace the archive");
        CHECK(refusal(path, FS_APPEND_FL) ==
              path + " is append-only: \"chattr -a\" would allow to replace the archive");
        CHECK(refusal(path, FS_EXTENT_FL | FS_NOATIME_FL).empty());
    }
}

TEST_CASE("an I/O error is neither vanished nor missing") {
    Place place;
    for (const char* operation : {"open", "open_beneath", "status", "inode_flags"}) {
        CAPTURE(operation);
        FaultFileSystem fs;
        fs.before = [&](const vmad::support::Call& call) {
            if (call.operation == operation) FaultFileSystem::fail(ESTALE, call);
        };
        CHECK_THROWS_AS((void)open_target(fs, open_entry(fs, place.archive, {place.dump}), false, kNow),
                        vmad::base::SystemError);
    }
}
