// Each call of the seam to the file system fails with its operation and its path, here because its descriptor
// is none.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "io/file_system.hpp"
#include "support/temporary_directory.hpp"

using namespace vmad;
using namespace vmad::io;

namespace {

struct Failure {
    std::string message;  ///< in front of the words for errno
    std::function<void(FileSystem&, const File&)> call;
};

const std::vector<Failure>& failures() {
    static const std::vector<Failure> all{
        {"open /gone/a", [](auto& fs, auto& file) { (void)fs.open_at(file, "a", O_RDONLY); }},
        {"create /gone/a",
         [](auto& fs, auto& file) { (void)fs.open_at(file, "a", O_WRONLY | O_CREAT, 0600); }},
        {"create for reading and writing /gone/a",
         [](auto& fs, auto& file) { (void)fs.open_at(file, "a", O_RDWR | O_CREAT, 0600); }},
        {"open /gone/a", [](auto& fs, auto& file) { (void)fs.open_beneath(file, "a", O_RDONLY); }},
        {"open /gone/a", [](auto& fs, auto& file) { (void)fs.open_in_root(file, "/a", O_RDONLY); }},
        {"create an unnamed file in /gone", [](auto& fs, auto& file) { (void)fs.open_unnamed(file); }},
        {"close /gone", [](auto& fs, auto&) { fs.close(File(base::UniqueFd(), "/gone")); }},
        {"read /gone", [](auto& fs, auto& file) { (void)fs.read_at(file, {}, 0); }},
        {"write /gone", [](auto& fs, auto& file) { (void)fs.write_at(file, {}, 0); }},
        {"copy to /gone", [](auto& fs, auto& file) { (void)fs.copy_range(file, 0, file, 0, 1); }},
        {"share blocks of /gone", [](auto& fs, auto& file) { (void)fs.share_range(file, 0, file, 0, 1); }},
        {"set the size of /gone", [](auto& fs, auto& file) { fs.truncate(file, 0); }},
        {"sync /gone", [](auto& fs, auto& file) { sync_where_known(fs, file); }},
        {"seek /gone", [](auto& fs, auto& file) { (void)next_data(fs, file, 0, 1); }},
        {"stat /gone", [](auto& fs, auto& file) { (void)fs.status(file); }},
        {"stat /gone/a", [](auto& fs, auto& file) { (void)fs.status_at(file, "a"); }},
        {"read the symbolic link /gone/a", [](auto& fs, auto& file) { (void)fs.read_link(file, "a"); }},
        {"find the free space of /gone", [](auto& fs, auto& file) { (void)fs.space(file); }},
        {"find the type of the file system of /gone", [](auto& fs, auto& file) { (void)fs.type(file); }},
        {"open /gone", [](auto& fs, auto& file) { (void)fs.entries(file); }},
        {"change the mode of /gone", [](auto& fs, auto& file) { fs.change_mode(file, 0600); }},
        {"change the owner of /gone", [](auto& fs, auto& file) { fs.change_owner(file, 0, 0); }},
        {"set the time of /gone", [](auto& fs, auto& file) { fs.set_modified(file, {}); }},
        {"list the attributes of /gone", [](auto& fs, auto& file) { (void)fs.attribute_names(file); }},
        {"read attribute user.a of /gone", [](auto& fs, auto& file) { (void)fs.attribute(file, "user.a"); }},
        {"set attribute user.a of /gone", [](auto& fs, auto& file) { fs.set_attribute(file, "user.a", ""); }},
        {"remove attribute user.a of /gone",
         [](auto& fs, auto& file) { fs.remove_attribute(file, "user.a"); }},
        {"link /gone/a", [](auto& fs, auto& file) { fs.make_link("b", file, "a"); }},
        {"rename to /gone/b", [](auto& fs, auto& file) { fs.rename(file, "a", "b"); }},
        {"exchange /gone/b", [](auto& fs, auto& file) { (void)fs.exchange(file, "a", "b"); }},
        {"remove /gone/a", [](auto& fs, auto& file) { (void)fs.unlink(file, "a"); }},
        {"lock /gone", [](auto& fs, auto& file) { (void)fs.try_lock(file); }},
    };
    return all;
}

}  // namespace

TEST_CASE("a call that fails says which, and of what") {
    FileSystem fs;
    const File none(base::UniqueFd(), "/gone");
    for (const auto& [message, call] : failures()) {
        CAPTURE(message);
        try {
            call(fs, none);
            FAIL("it did not fail");
        } catch (const base::SystemError& error) {
            CHECK(error.number() == EBADF);
            CHECK(error.what() == message + ": Bad file descriptor");
        }
    }
}

TEST_CASE("what is only a hint, or may be missing, fails without an error") {
    FileSystem fs;
    const File none(base::UniqueFd(), "/gone");
    fs.push_out(none, 0, 1, true);
    fs.push_out(none, 0, 1, false);
    fs.advise(none, 0, 1, POSIX_FADV_DONTNEED);
    fs.discard(none, 0, 1);
    CHECK(fs.extents(none, 0, 1).empty());
    CHECK(fs.inode_flags(none) == 0);
    CHECK_FALSE(fs.reopen_direct(none));
    CHECK_FALSE(fs.link(none, "a", "b"));
    const support::TemporaryDirectory place;
    CHECK_FALSE(fs.make_directory(place.path(), 0700));
    CHECK_THROWS_AS(fs.make_directory(place / "none/a", 0700), base::SystemError);
}

TEST_CASE("a name that is taken is an error of its own") {
    FileSystem fs;
    const support::TemporaryDirectory place;
    place.write("a", "");
    place.write("b", "");
    const auto directory = fs.open(place.path(), O_RDONLY | O_DIRECTORY);
    for (const auto& link : std::vector<std::function<void()>>{
             [&] { (void)fs.link(directory, "a", "b"); },
             [&] { fs.link_unnamed(fs.open(place / "a", O_RDONLY), directory, "b"); },
             [&] { fs.make_link("a", directory, "b"); }}) {
        try {
            link();
            FAIL("it has two names");
        } catch (const base::SystemError& error) {
            CHECK(error.number() == EEXIST);
        }
    }
    CHECK(fs.exchange(directory, "a", "b"));
    CHECK_FALSE(fs.unlink(directory, "c"));
}

TEST_CASE("what a file system has not is told from what fails") {
    for (const int number : {EPERM, EACCES, EINVAL, ENOSYS, EOPNOTSUPP, ENOTTY, EISDIR, EXDEV, EMLINK})
        CHECK(is_refusal(number));
    for (const int number : {0, EIO, ENOENT, ENOSPC, ESTALE, EBADF}) CHECK_FALSE(is_refusal(number));
    for (const int number : {ENOSPC, EDQUOT}) {
        errno = number;
        try {
            throw_file_error("write", "/full/file");
        } catch (const NoSpace& error) {
            CHECK(error.number() == number);
            CHECK(error.directory() == "/full");
        }
    }
    errno = ENOSYS;
    CHECK_THROWS_WITH(throw_file_error("exchange", "/a"),
                      "the file system cannot exchange /a: Function not implemented");
    CHECK_THROWS_WITH(throw_nothing_written("/a"), "write (which took 0 bytes) to /a: Input/output error");
}
