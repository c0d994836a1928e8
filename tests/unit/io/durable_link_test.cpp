#include <fcntl.h>

#include <cerrno>
#include <optional>
#include <set>
#include <string>

#include <doctest/doctest.h>

#include "base/error.hpp"
#include "io/durable_entry.hpp"
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

}  // namespace

TEST_CASE("a link is made, replaced and removed, wherever it points") {
    const TemporaryDirectory place(TemporaryDirectory::fast_base());
    const File directory = open_directory(place);
    FileSystem fs;
    CHECK_FALSE(remove_link_durably(fs, directory, "name"));
    for (const std::string target : {"/no/where", "name", "a b\n"}) {
        write_link_durably(fs, directory, "name", target);
        CHECK(fs.read_link(directory, "name") == target);
        CHECK(place.names() == std::set<std::string>{"name"});
    }
    CHECK(remove_link_durably(fs, directory, "name"));
    CHECK(place.names().empty());
}

TEST_CASE("what is no link stays") {
    const TemporaryDirectory place(TemporaryDirectory::fast_base());
    const File directory = open_directory(place);
    FileSystem fs;
    place.write("name", "x");
    CHECK_THROWS_WITH_AS(write_link_durably(fs, directory, "name", "/a"),
                         (place / "name" + " is not a symbolic link").c_str(), base::Error);
    CHECK_FALSE(remove_link_durably(fs, directory, "name"));
    CHECK(place.read("name") == "x");
}

TEST_CASE("law: whichever operation fails, the link is as it was and nothing is left beside it") {
    for (const bool existed : {false, true}) {
        for (const bool removing : {false, true}) {
            for (unsigned n = 1;; ++n) {
                CAPTURE(existed);
                CAPTURE(removing);
                CAPTURE(n);
                const TemporaryDirectory place(TemporaryDirectory::fast_base());
                const File directory = open_directory(place);
                if (existed) FileSystem().make_link("/old", directory, "name");
                FaultFileSystem fs;
                fs.before = [&](const Call& call) {
                    if (call.number == n) FaultFileSystem::fail(EIO, call);
                };
                try {
                    if (removing)
                        remove_link_durably(fs, directory, "name");
                    else
                        write_link_durably(fs, directory, "name", "/new");
                    CHECK(n > fs.calls());
                    break;
                } catch (const base::SystemError& error) {
                    CHECK(error.number() == EIO);
                }
                CHECK(FileSystem().read_link(directory, "name") ==
                      (existed ? std::optional<std::string>("/old") : std::nullopt));
                CHECK(place.names().size() == (existed ? 1 : 0));
            }
        }
    }
}
