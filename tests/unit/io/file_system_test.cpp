#include "io/file_system.hpp"

#include <fcntl.h>

#include <cerrno>
#include <filesystem>
#include <string>

#include <doctest/doctest.h>

#include "base/error.hpp"
#include "support/temporary_directory.hpp"

using namespace vmad;
using namespace vmad::io;
using support::TemporaryDirectory;

TEST_CASE("a path in a root never leads out of it") {
    const TemporaryDirectory place;
    std::filesystem::create_directories(place / "root/etc");
    place.write("root/etc/file", "inside");
    place.write("outside", "outside");
    std::filesystem::create_symlink("/etc/file", place / "root/absolute");
    std::filesystem::create_symlink("../../../../../../etc/file", place / "root/etc/up");
    std::filesystem::create_symlink(place / "outside", place / "root/out");
    FileSystem fs;
    const auto root = fs.open(place / "root", O_PATH | O_DIRECTORY);
    const auto inode = fs.status(fs.open(place / "root/etc/file", O_PATH)).st_ino;
    for (const std::string path : {"/etc/file", "/../etc/file", "/absolute", "/etc/up"}) {
        CAPTURE(path);
        const auto file = fs.open_in_root(root, path, O_PATH);
        CHECK(fs.status(file).st_ino == inode);
        CHECK(file.path() == place / "root" + path);
        CHECK(fs.real_path(file) == std::filesystem::canonical(place / "root/etc/file"));
    }
    for (const std::string path : {"/out", "/../outside", "/none"}) {
        CAPTURE(path);
        try {
            (void)fs.open_in_root(root, path, O_PATH);
            FAIL("it was opened");
        } catch (const base::SystemError& error) {
            CHECK(error.number() == ENOENT);
        }
    }
    CHECK(fs.open_in_root(fs.open("/", O_PATH | O_DIRECTORY), "/proc", O_PATH).path() == "/proc");
}

TEST_CASE("only a symbolic link points somewhere") {
    const TemporaryDirectory place;
    FileSystem fs;
    const auto directory = fs.open(place.path(), O_RDONLY | O_DIRECTORY);
    place.write("file", "");
    fs.make_link("any where", directory, "link");
    CHECK(fs.read_link(directory, "link") == "any where");
    CHECK(fs.read_link(directory, "file") == std::nullopt);
    CHECK(fs.read_link(directory, "none") == std::nullopt);
    CHECK_THROWS_AS(fs.make_link("x", directory, "file"), base::SystemError);
}

TEST_CASE("where blocks cannot be shared, that is an outcome") {
    const TemporaryDirectory place(TemporaryDirectory::fast_base());
    FileSystem fs;
    const std::string content(8192, 'x');
    place.write("a", content);
    place.write("b", content);
    const auto a = fs.open(place / "a", O_RDONLY);
    const auto b = fs.open(place / "b", O_RDONLY);
    const auto sharing = fs.share_range(a, 0, b, 0, content.size());
    CHECK((sharing.refusal != 0 || sharing.bytes == content.size()));
    CHECK_FALSE(sharing.differs);
    for (const auto& extent : fs.extents(a, 0, content.size())) CHECK(extent.bytes > 0);
    CHECK(place.read("b") == content);
}
