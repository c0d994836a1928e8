#include "ctl/operands/archive_search.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "support/temporary_directory.hpp"

using namespace vmad;
using support::TemporaryDirectory;

namespace {

struct Result {
    std::multiset<std::string> paths;
    std::vector<std::string> errors;
};

Result search(io::FileSystem& fs, const std::string& path) {
    Result result;
    ctl::find_archives(
        fs, path, [&](const ctl::FoundArchive& archive) { result.paths.insert(archive.path); },
        [&](const std::string& message) { result.errors.push_back(message); });
    return result;
}

Result search(const std::string& path) {
    io::FileSystem fs;
    return search(fs, path);
}

/// Cannot read some directories, as others than root often cannot.
class Unreadable final : public io::FileSystem {
  public:
    explicit Unreadable(std::string path) : path_(std::move(path)) {}
    std::vector<std::string> entries(const io::File& directory) override {
        if (directory.path() == path_) throw base::SystemError(EACCES, "list", path_);
        return FileSystem::entries(directory);
    }

  private:
    std::string path_;
};

}  // namespace

TEST_CASE("archives are known by the ends of their names") {
    for (const char* name : {"a.vma", "a.vma.zst", "a.vma.gz", "a.vma.lzo", "a b.vma", "x.log.vma"})
        CHECK(ctl::is_archive_name(name));
    for (const char* name : {"", ".vma", ".a.vma", "a.vma.", "avma", "a.vma.bz2", "a.VMA", "a.vma.dat",
                             "a.vma.zst.notes", "a.zst", ".vmad-0123456789abcdef.tmp", "a.vma/"})
        CHECK_FALSE(ctl::is_archive_name(name));
}

TEST_CASE("recycle bins, snapshots and hidden directories are not searched, but when they are named") {
    const TemporaryDirectory place;
    place.write("good.vma", "");
    for (const char* name : {"#recycle", "#snapshot", "@Recycle", "@Recently-Snapshot", "@eaDir",
                             "$RECYCLE.BIN", "RECYCLER", "System Volume Information", "~snapshot",
                             "lost+found", ".Trash-1000", ".recycle", ".snapshot", ".zfs", "dump/#recycle"}) {
        std::filesystem::create_directories(place / (std::string(name) + "/deep"));
        place.write(std::string(name) + "/x.vma", "");
        place.write(std::string(name) + "/deep/x.vma", "");
        CHECK(search(place / name).paths.size() == 2);
    }
    for (const char* name : {"recycle", "snapshot", "#recycle2", "Trash"}) {
        std::filesystem::create_directories(place / name);
        place.write(std::string(name) + "/other.vma", "");
    }
    const auto result = search(place.path());
    CHECK(result.paths.size() == 5);
    CHECK(result.paths.contains(place / "good.vma"));
    CHECK(result.errors.empty());
}

TEST_CASE("regular files are found at every depth, and told with size and time") {
    const TemporaryDirectory place;
    std::filesystem::create_directories(place / "a/b/c.vma");
    place.write("one.vma", "12345");
    place.set_modified("one.vma", {1000, 7});
    place.write("a/two.vma.zst", "");
    place.write("a/b/c.vma/three.vma.lzo", "");
    place.write("a/b/notes", "");
    io::FileSystem fs;
    std::vector<ctl::FoundArchive> found;
    ctl::find_archives(
        fs, place.path(), [&](const ctl::FoundArchive& archive) { found.push_back(archive); },
        [](const std::string& message) { FAIL(message); });
    REQUIRE(found.size() == 3);
    const auto one = std::find_if(found.begin(), found.end(),
                                  [&](const auto& archive) { return archive.path == place / "one.vma"; });
    REQUIRE(one != found.end());
    CHECK(one->size_bytes == 5);
    CHECK(one->modified_ns == 1'000'000'000'007);
    CHECK(search(place.path()).paths.count(place / "a/b/c.vma/three.vma.lzo") == 1);
}

TEST_CASE("hidden names, links and what is no regular file are passed over") {
    const TemporaryDirectory place;
    const TemporaryDirectory elsewhere;
    elsewhere.write("far.vma", "");
    std::filesystem::create_directories(place / ".hidden");
    place.write(".hidden/a.vma", "");
    place.write(".b.vma", "");
    std::filesystem::create_directory_symlink(elsewhere.path(), place / "link");
    std::filesystem::create_symlink(elsewhere / "far.vma", place / "c.vma");
    std::filesystem::create_symlink(place / "e.vma", place / "e.vma");
    REQUIRE(::mkfifo((place / "d.vma").c_str(), 0600) == 0);
    const auto result = search(place.path());
    CHECK(result.paths.empty());
    CHECK(result.errors.empty());
}

TEST_CASE("the place itself may be a link, or a file of any name") {
    const TemporaryDirectory place;
    place.write("a.vma", "");
    place.write("raw", "");
    std::filesystem::create_directory_symlink(place.path(), place / "here");
    CHECK(search(place / "here").paths == std::multiset<std::string>{place / "here/a.vma"});
    CHECK(search(place / "raw").paths == std::multiset<std::string>{place / "raw"});
}

TEST_CASE("other file systems are not entered") {
    struct stat root {};
    struct stat proc {};
    REQUIRE(::stat("/", &root) == 0);
    if (::stat("/proc", &proc) != 0 || root.st_dev == proc.st_dev) return;
    class Watched final : public io::FileSystem {
      public:
        std::vector<std::string> entries(const io::File& directory) override {
            CHECK_FALSE(directory.path().starts_with("/proc"));
            return directory.path() == "/" ? FileSystem::entries(directory) : std::vector<std::string>();
        }
    };
    Watched fs;
    search(fs, "/");
}

TEST_CASE("what cannot be read is told, and the rest is found") {
    const TemporaryDirectory place;
    for (const char* name : {"a", "b", "c"}) {
        std::filesystem::create_directory(place / name);
        place.write(std::string(name) + "/x.vma", "");
    }
    Unreadable fs(place / "b");
    const auto result = search(fs, place.path());
    CHECK(result.paths == std::multiset<std::string>{place / "a/x.vma", place / "c/x.vma"});
    CHECK(result.errors == std::vector<std::string>{"list " + (place / "b") + ": Permission denied"});

    CHECK(search(place / "none").errors ==
          std::vector<std::string>{"open " + (place / "none") + ": No such file or directory"});
    CHECK(search("/dev/null").errors ==
          std::vector<std::string>{"/dev/null is not a directory or regular file"});
}

TEST_CASE("a tree deeper than there are descriptors is searched") {
    const TemporaryDirectory place;
    std::string path = place.path();
    // As deep as a path of 4096 bytes allows.
    while (path.size() < 3900) {
        path += "/d";
        REQUIRE(::mkdir(path.c_str(), 0755) == 0);
    }
    place.write(path.substr(place.path().size() + 1) + "/x.vma", "");
    CHECK(search(place.path()).paths == std::multiset<std::string>{path + "/x.vma"});
}
