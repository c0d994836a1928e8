// Files that appear when they are complete, and files as sources.
#include "io/new_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <set>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "io/file_source.hpp"
#include "support/temporary_directory.hpp"

using namespace vmad;
using namespace vmad::io;
using support::TemporaryDirectory;
using Names = std::set<std::string>;

namespace {

/// One that has unnamed files or not, and hard links or not.
class PlainFileSystem final : public FileSystem {
  public:
    bool unnamed = true;
    bool links = true;

    std::optional<File> open_unnamed(const File& directory) override {
        return unnamed ? FileSystem::open_unnamed(directory) : std::nullopt;
    }
    bool link(const File& directory, const std::string& from, const std::string& to) override {
        return links && FileSystem::link(directory, from, to);
    }
};

void fill(FileSystem& fs, const NewFile& file, const std::string& text) {
    iovec slice = const_slice(text);
    write_fully_at(fs, file.file(), {&slice, 1}, 0);
}

}  // namespace

TEST_CASE("law: a new file has its name when it is complete, or leaves nothing, on any file system") {
    const TemporaryDirectory place;
    for (const bool unnamed : {true, false}) {
        for (const bool links : {true, false}) {
            CAPTURE(unnamed);
            CAPTURE(links);
            PlainFileSystem fs;
            fs.unnamed = unnamed, fs.links = links;
            const auto directory = fs.open(place.path(), O_RDONLY | O_DIRECTORY);
            {
                NewFile file(fs, directory, "a");
                fill(fs, file, "never");
                CHECK_FALSE(place.has("a"));
            }
            CHECK(place.names() == Names{});
            {
                NewFile file(fs, directory, "a");
                file.publish();
                CHECK(place.names() == Names{"a"});
            }
            CHECK(place.names() == Names{});
            {
                NewFile file(fs, directory, "a");
                fill(fs, file, "first");
                file.publish();
                file.keep();
            }
            CHECK(place.read("a") == "first");
            {
                NewFile file(fs, directory, "a");
                CHECK_THROWS_AS(file.publish(), base::SystemError);
            }
            CHECK(place.read("a") == "first");
            for (const std::string name : {"a", "b"}) {
                NewFile file(fs, directory, "a");
                fill(fs, file, "second");
                file.replace(name);
                CHECK(place.read(name) == "second");
            }
            CHECK(place.names() == Names{"a", "b"});
            place.remove("a");
            place.remove("b");
        }
    }
}

TEST_CASE("law: a source is its file, whatever becomes of the page cache, and in pieces of any size") {
    const TemporaryDirectory place;
    FileSystem fs;
    std::string content(std::size_t{90} << 20, 'x');
    for (std::size_t at = 0; at < content.size(); at += 4096)
        content[at] = static_cast<char>('a' + at / 4096 % 26);
    place.write("file", content);
    const auto file = fs.open(place / "file", O_RDONLY);
    for (const auto cache_use : {CacheUse::peek, CacheUse::keep, CacheUse::drop_behind}) {
        FileSource source(fs, file, cache_use);
        CHECK(source.size_bytes() == content.size());
        std::string found(content.size(), '\0');
        std::size_t at = 0;
        for (std::size_t piece = (std::size_t{1} << 20) + 3; at < content.size(); piece = piece * 3 / 2) {
            std::vector<iovec> slices{{found.data() + at, std::min(piece, content.size() - at)}};
            at += source.read(slices);
        }
        CHECK(source.progress().done_bytes == content.size());
        char more = 0;
        std::vector<iovec> rest{{&more, 1}};
        CHECK(source.read(rest) == 0);
        CHECK((found == content));
    }
}

TEST_CASE("law: whatever is not zero lies in a range of data") {
    const TemporaryDirectory place;
    FileSystem fs;
    const auto file = fs.open(place / "file", O_RDWR | O_CREAT, 0600);
    constexpr std::uint64_t kSize = 1 << 20;
    fs.truncate(file, kSize);
    CHECK_FALSE(next_data(fs, file, kSize, kSize));
    for (const std::uint64_t at : {std::uint64_t{0}, std::uint64_t{300000}, kSize - 1}) {
        std::string text = "x";
        iovec slice = const_slice(text);
        write_fully_at(fs, file, {&slice, 1}, at);
        std::uint64_t from = 0;
        bool found = false;
        while (const auto range = next_data(fs, file, from, kSize)) {
            CHECK(range->begin >= from);
            CHECK(range->end > range->begin);
            found = found || (range->begin <= at && at < range->end);
            from = range->end;
        }
        CHECK(found);
    }
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    const base::UniqueFd write_end(ends[1]);
    CHECK_THROWS_AS((void)next_data(fs, File(base::UniqueFd(ends[0]), "pipe"), 0, 1), base::SystemError);
}
