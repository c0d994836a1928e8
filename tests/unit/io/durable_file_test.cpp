#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <new>
#include <set>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "base/error.hpp"
#include "io/durable_entry.hpp"
#include "io/temporary_name.hpp"
#include "support/fault_file_system.hpp"
#include "support/temporary_directory.hpp"

using namespace vmad;
using namespace vmad::io;
using support::Call;
using support::FaultFileSystem;
using support::TemporaryDirectory;

namespace {

File open_directory(const TemporaryDirectory& directory) {
    return FileSystem().open(directory.path(), O_RDONLY | O_DIRECTORY);
}

/// The operations on the way; temporary names are random and are called "TEMPORARY".
template <typename Action>
std::vector<std::string> operations_of(FaultFileSystem& fs, const File& directory, Action action) {
    std::vector<std::string> operations;
    fs.before = [&](const Call& call) {
        std::string name = call.path.substr(call.path.rfind('/') + 1);
        if (call.path == directory.path()) name = "DIRECTORY";
        operations.push_back(call.operation + ' ' + (is_temporary_name(name) ? "TEMPORARY" : name));
    };
    action();
    fs.before = nullptr;
    return operations;
}

}  // namespace

TEST_CASE("writing makes an entry or replaces it, mode 0600") {
    const TemporaryDirectory place(TemporaryDirectory::fast_base());
    const File directory = open_directory(place);
    FileSystem fs;
    for (const std::string content : {"first", "", "second"}) {
        write_durably(fs, directory, "name", content);
        CHECK(place.read("name") == content);
        CHECK(place.names() == std::set<std::string>{"name"});
    }
    struct stat status {};
    REQUIRE(::stat((place / "name").c_str(), &status) == 0);
    CHECK((status.st_mode & 07777) == 0600);
}

TEST_CASE("a file gets its attributes before it has its name, and again when the old one is put back") {
    const TemporaryDirectory place(TemporaryDirectory::fast_base());
    const File directory = open_directory(place);
    FaultFileSystem fs;
    place.write("name", "old");
    unsigned syncs = 0;
    fs.before = [&](const Call& call) {
        if (call.operation == "sync" && ++syncs == 2) FaultFileSystem::fail(EIO, call);
    };
    const auto readable = [&](const File& file) { fs.change_mode(file, 0644); };
    CHECK_THROWS_AS(write_durably(fs, directory, "name", "new", readable), base::SystemError);
    CHECK(place.read("name") == "old");
    struct stat status {};
    REQUIRE(::stat((place / "name").c_str(), &status) == 0);
    CHECK((status.st_mode & 07777) == 0644);
}

TEST_CASE("content is on the disk before it has the name, and the name before the call returns") {
    const TemporaryDirectory place(TemporaryDirectory::fast_base());
    const File directory = open_directory(place);
    FaultFileSystem fs;
    const auto operations = operations_of(fs, directory, [&] { write_durably(fs, directory, "name", "x"); });
    CHECK(operations == std::vector<std::string>{"status_at name", "open_at TEMPORARY", "write_at TEMPORARY",
                                                 "sync TEMPORARY", "close TEMPORARY", "rename name",
                                                 "sync DIRECTORY"});
    const auto removal = operations_of(fs, directory, [&] { remove_durably(fs, directory, "name"); });
    CHECK(std::vector<std::string>(removal.end() - 2, removal.end()) ==
          std::vector<std::string>{"unlink name", "sync DIRECTORY"});
}

TEST_CASE("removing says whether there was something") {
    const TemporaryDirectory place(TemporaryDirectory::fast_base());
    const File directory = open_directory(place);
    FileSystem fs;
    CHECK_FALSE(remove_durably(fs, directory, "name"));
    place.write("name", "x");
    CHECK(remove_durably(fs, directory, "name"));
    CHECK(place.names().empty());
}

TEST_CASE("the first failure is reported, whatever happens while it is undone") {
    const TemporaryDirectory place(TemporaryDirectory::fast_base());
    const File directory = open_directory(place);
    for (const std::string first : {"write_at", "sync"}) {
        CAPTURE(first);
        FaultFileSystem fs;
        bool has_failed = false;
        fs.before = [&](const Call& call) {
            if (has_failed) throw std::bad_alloc();
            has_failed = call.operation == first;
            if (has_failed) FaultFileSystem::fail(EIO, call);
        };
        CHECK_THROWS_AS(write_durably(fs, directory, "name", "new"), base::SystemError);
    }
}

TEST_CASE("a full disk or quota is told apart, and keeps errno") {
    for (const int number : {ENOSPC, EDQUOT}) {
        try {
            FaultFileSystem::fail(number, {1, "write_at", "/a"});
        } catch (const NoSpace& error) {
            CHECK(error.number() == number);
        }
    }
    CHECK(NoSpace("too little is left").number() == ENOSPC);
}

TEST_CASE("law: whichever operation fails, the entry is as it was and nothing is left beside it") {
    const std::string large(200000, 'o');
    for (const bool existed : {false, true}) {
        for (const bool removing : {false, true}) {
            for (unsigned n = 1;; ++n) {
                CAPTURE(existed);
                CAPTURE(removing);
                CAPTURE(n);
                const TemporaryDirectory place(TemporaryDirectory::fast_base());
                const File directory = open_directory(place);
                if (existed) place.write("name", large);
                FaultFileSystem fs;
                fs.before = [&](const Call& call) {
                    if (call.number == n) FaultFileSystem::fail(EIO, call);
                };
                try {
                    if (removing)
                        remove_durably(fs, directory, "name");
                    else
                        write_durably(fs, directory, "name", "new");
                    CHECK(n > fs.calls());
                    break;
                } catch (const base::SystemError& error) {
                    CHECK(error.number() == EIO);
                }
                CHECK(place.has("name") == existed);
                if (existed) CHECK(place.read("name") == large);
                CHECK(place.names().size() == (existed ? 1 : 0));
            }
        }
    }
}

TEST_CASE("a disk on which nothing works any more is reported by its first failure, and the entry is whole") {
    for (unsigned from = 1; from <= 9; ++from) {
        CAPTURE(from);
        const TemporaryDirectory place(TemporaryDirectory::fast_base());
        const File directory = open_directory(place);
        place.write("name", "old");
        FaultFileSystem fs;
        std::vector<std::string> failed;
        fs.before = [&](const Call& call) {
            if (call.number < from) return;
            failed.push_back(call.operation);
            FaultFileSystem::fail(EROFS, call);
        };
        try {
            write_durably(fs, directory, "name", "new");
            FAIL("it succeeded");
        } catch (const base::SystemError& error) {
            CHECK(std::string(error.what()).starts_with("(made to fail) " + failed.front()));
        }
        const std::string content = place.read("name");
        CHECK((content == "old" || content == "new"));
    }
}

TEST_CASE("a write that is done piece by piece is still whole") {
    class Piecemeal : public FileSystem {
      public:
        std::size_t write_at(const File& file, std::span<const iovec> from, std::uint64_t offset) override {
            const iovec byte{from.front().iov_base, 1};
            return FileSystem::write_at(file, {&byte, 1}, offset);
        }
        std::size_t read_at(const File& file, std::span<const iovec> into, std::uint64_t offset) override {
            const iovec byte{into.front().iov_base, 1};
            return FileSystem::read_at(file, {&byte, 1}, offset);
        }
    };
    const TemporaryDirectory place(TemporaryDirectory::fast_base());
    const File directory = open_directory(place);
    Piecemeal fs;
    const std::string content = std::string("with\0NUL", 8) + std::string(1000, 'x');
    write_durably(fs, directory, "name", content);
    CHECK(read_small_file(fs, directory, "name", 1008) == content);
}

TEST_CASE("reading stops at the limit, whatever stat says of the size") {
    const TemporaryDirectory place(TemporaryDirectory::fast_base());
    const File directory = open_directory(place);
    FileSystem fs;
    CHECK(read_small_file(fs, directory, "name", 10) == std::nullopt);
    for (const std::size_t size : {0, 1, 65535, 65536, 65537, 131072, 200000}) {
        CAPTURE(size);
        const std::string content(size, 'c');
        place.write("name", content);
        CHECK(read_small_file(fs, directory, "name", size) == content);
        CHECK(read_small_file(fs, directory, "name", size + 1) == content);
        CHECK(read_small_file(fs, directory, "name", 1 << 20) == content);
        if (size == 0) continue;
        const std::string message = place / "name" + " is larger than " + std::to_string(size - 1) + " bytes";
        CHECK_THROWS_WITH_AS((void)read_small_file(fs, directory, "name", size - 1), message.c_str(),
                             base::Error);
    }
    CHECK_THROWS_WITH_AS((void)read_small_file(fs, fs.open("/dev/zero", O_RDONLY), 100000),
                         "/dev/zero is larger than 100000 bytes", base::Error);
    CHECK(read_small_file(fs, fs.open("/proc/self/comm", O_RDONLY), 100).ends_with('\n'));
}

TEST_CASE("what is not a regular file is not read, and does not block") {
    const TemporaryDirectory place(TemporaryDirectory::fast_base());
    const File directory = open_directory(place);
    FileSystem fs;
    place.write("file", "x");
    REQUIRE(::mkfifo((place / "pipe").c_str(), 0600) == 0);
    REQUIRE(::mkdir((place / "directory").c_str(), 0700) == 0);
    REQUIRE(::symlink("file", (place / "link").c_str()) == 0);
    for (const std::string name : {"pipe", "directory", "link"}) {
        const std::string message = place / name + " is not a regular file";
        CHECK_THROWS_WITH_AS((void)read_small_file(fs, directory, name, 10), message.c_str(), base::Error);
        CHECK_THROWS_WITH_AS(write_durably(fs, directory, name, "y"), message.c_str(), base::Error);
        CHECK_THROWS_WITH_AS(remove_durably(fs, directory, name), message.c_str(), base::Error);
    }
    CHECK(place.names().size() == 4);
}

TEST_CASE("an entry that goes away while it is being opened is absent") {
    const TemporaryDirectory place(TemporaryDirectory::fast_base());
    const File directory = open_directory(place);
    place.write("name", "x");
    FaultFileSystem fs;
    fs.after = [&](const Call& call) {
        if (call.operation == "status_at") FileSystem().unlink(directory, "name");
    };
    CHECK(read_small_file(fs, directory, "name", 10) == std::nullopt);
}

TEST_CASE("only our own temporary names count as such") {
    CHECK(is_temporary_name(".vmad-0123456789abcdef.tmp"));
    for (const std::string name :
         {"", ".", ".vmad-.tmp", "vmad-0123456789abcdef.tmp", ".0123456789abcdef.tmp",
          ".vmad-0123456789abcde.tmp", ".vmad-0123456789abcdef0.tmp", ".vmad-0123456789ABCDEF.tmp",
          ".vmad-0123456789abcdeg.tmp", ".vmad-0123456789abcdef.tmq", ".vmad-0123456789abcdef_tmp",
          ".vmad-0123456789abcdef.old", "17.json"}) {
        CAPTURE(name);
        CHECK_FALSE(is_temporary_name(name));
    }
}
