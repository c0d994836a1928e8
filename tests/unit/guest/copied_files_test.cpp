// The records between the process that reads a guest's files and the one that writes them, which trusts none.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include <doctest/doctest.h>

#include "base/child_start.hpp"
#include "guest/copy_record.hpp"
#include "guest/tree_writer.hpp"
#include "support/temporary_directory.hpp"

using namespace vmad;
using guest::CopyRecord;
using guest::CopyStep;
using guest::FileType;

namespace {

CopyRecord record(CopyStep step, FileType type, const std::string& path, const std::string& text = {}) {
    CopyRecord result{.step = step, .path = path, .text = text};
    result.status.type = type;
    result.status.mode = 0640;
    result.status.size_bytes = 4;
    result.status.modified = 1'000'000'000;
    return result;
}

std::string content(const std::filesystem::path& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
}

/// Begins, writes and ends a file.
void write_file(guest::FileWriter& writer, const std::string& path) {
    writer.take(record(CopyStep::begin, FileType::file, path));
    writer.take(record(CopyStep::data, FileType::file, path, "text"));
    writer.take(record(CopyStep::end, FileType::file, path));
}

}  // namespace

TEST_CASE("records come out as they went in, and a pipe that ends in one is an error") {
    auto pipe = base::make_pipe();
    auto sent = record(CopyStep::begin, FileType::link, "a/b", std::string("t\0\xff", 3));
    sent.number = 5;
    guest::send_record(pipe.write.get(), sent);
    std::vector<std::byte> bytes(4096);
    bytes.resize(static_cast<std::size_t>(::read(pipe.read.get(), bytes.data(), bytes.size())));
    for (std::size_t size = 0; size <= bytes.size(); ++size) {
        auto part = base::make_pipe();
        REQUIRE(::write(part.write.get(), bytes.data(), size) == static_cast<ssize_t>(size));
        part.write.reset();
        CopyRecord got;
        if (size == 0) {
            CHECK(!guest::receive_record(part.read.get(), got));
        } else if (size < bytes.size()) {
            CHECK_THROWS_AS((void)guest::receive_record(part.read.get(), got), base::Error);
        } else {
            REQUIRE(guest::receive_record(part.read.get(), got));
            CHECK(got.path == sent.path);
            CHECK(got.text == sent.text);
            CHECK(got.number == 5);
            CHECK(got.status.modified == sent.status.modified);
        }
    }
}

TEST_CASE("records that are none are refused") {
    std::vector<std::byte> noise(4096, std::byte{0xff});
    auto pipe = base::make_pipe();
    REQUIRE(::write(pipe.write.get(), noise.data(), noise.size()) == 4096);
    CopyRecord got;
    CHECK_THROWS_WITH((void)guest::receive_record(pipe.read.get(), got),
                      "the files to copy come in disorder");
}

TEST_CASE("nothing is written outside of the target") {
    const support::TemporaryDirectory directory;
    const std::filesystem::path root(directory.path());
    std::filesystem::create_directories(root / "target/below");
    std::filesystem::create_directory(root / "outside");
    std::ofstream(root / "outside/file") << "mine";
    std::filesystem::create_symlink(root / "outside", root / "target/link");
    std::filesystem::create_symlink(root / "outside/file", root / "target/file-link");
    guest::TreeWriter writer((root / "target").string(), {.force = true});
    for (const char* path : {"../escape", "below/../../escape", "/escape", "..", ".", "", "below/",
                             "link/escape", "below/../link/escape", "below/..", "missing/file"}) {
        CAPTURE(std::string(path));
        for (const auto type : {FileType::file, FileType::directory, FileType::link, FileType::fifo})
            CHECK_THROWS_AS(writer.take(record(CopyStep::begin, type, path, "to")), base::Error);
        CHECK_THROWS_AS(writer.take(record(CopyStep::hard_link, FileType::file, path, "below")), base::Error);
        // What has not begun cannot end, nor change what is there.
        writer.take(record(CopyStep::end, FileType::file, path));
        writer.take(record(CopyStep::end, FileType::directory, path));
    }
    CHECK_THROWS_AS(writer.take(record(CopyStep::hard_link, FileType::file, "stolen", "link/file")),
                    base::Error);
    // The link itself is replaced.
    write_file(writer, "file-link");
    CHECK(content(root / "target/file-link") == "text");
    CHECK(content(root / "outside/file") == "mine");
    CHECK(std::distance(std::filesystem::directory_iterator(root / "outside"), {}) == 1);
    CHECK(std::distance(std::filesystem::directory_iterator(root), {}) == 2);
    CHECK(std::filesystem::is_empty(root / "target/below"));
}

TEST_CASE("nothing is written but what was asked for") {
    const support::TemporaryDirectory directory;
    const std::filesystem::path root(directory.path());
    std::ofstream(root / "mine") << "mine";
    std::filesystem::create_directory(root / "hidden");
    guest::TreeWriter writer(directory.path(), {.force = true, .names = {"file", "tree"}});
    writer.take(record(CopyStep::begin, FileType::directory, "tree"));
    for (const auto& path : {std::string("mine"), std::string("hidden/key"), std::string("files"),
                             std::string("tree/../mine"), std::string("tree/../hidden/key"),
                             std::string("tree//x"), std::string("tree/./x"), std::string("tree\0/x", 7)}) {
        CAPTURE(path);
        for (const auto type : {FileType::file, FileType::directory, FileType::link, FileType::fifo})
            CHECK_THROWS_AS(writer.take(record(CopyStep::begin, type, path, "to")), base::Error);
        CHECK_THROWS_AS(writer.take(record(CopyStep::hard_link, FileType::file, "tree/link", path)),
                        base::Error);
    }
    for (const char* path : {"file", "tree/x"}) write_file(writer, path);
    CHECK(content(root / "mine") == "mine");
    CHECK(std::filesystem::is_empty(root / "hidden"));
    CHECK(std::distance(std::filesystem::directory_iterator(root), {}) == 4);
    CHECK(std::distance(std::filesystem::directory_iterator(root / "tree"), {}) == 1);
}

TEST_CASE("what is put in a file's place meanwhile gets neither its permissions nor its time") {
    const support::TemporaryDirectory directory;
    const std::filesystem::path root(directory.path());
    guest::TreeWriter writer(directory.path(), {});
    writer.take(record(CopyStep::begin, FileType::file, "file"));
    std::filesystem::rename(root / "file", root / "moved");
    std::ofstream(root / "file") << "another";
    std::filesystem::permissions(root / "file", std::filesystem::perms(0444));
    writer.take(record(CopyStep::end, FileType::file, "file"));
    CHECK(std::filesystem::status(root / "file").permissions() == std::filesystem::perms(0444));
    CHECK(std::filesystem::status(root / "moved").permissions() == std::filesystem::perms(0640));
}

TEST_CASE("a file that has not ended is not left") {
    const support::TemporaryDirectory directory;
    const std::filesystem::path root(directory.path());
    {
        guest::TreeWriter writer(directory.path(), {});
        write_file(writer, "whole");
        for (const char* name : {"failed", "unfinished"}) {
            writer.take(record(CopyStep::begin, FileType::file, name));
            writer.take(record(CopyStep::data, FileType::file, name, "te"));
            CHECK(std::filesystem::exists(root / name));
            if (name == std::string("failed")) writer.take(record(CopyStep::failed, FileType::file, name));
        }
        CHECK(!std::filesystem::exists(root / "failed"));
        CHECK(writer.files() == 1);
    }
    CHECK(!std::filesystem::exists(root / "unfinished"));
    struct stat status {};
    REQUIRE(::stat((root / "whole").c_str(), &status) == 0);
    CHECK((status.st_mode & 07777) == 0640);
    CHECK(status.st_mtim.tv_sec == 1'000'000'000);
}

TEST_CASE("what is below a directory that cannot be made is left out without more errors") {
    const support::TemporaryDirectory directory;
    guest::TreeWriter writer(directory.path(), {});
    write_file(writer, "taken");
    CHECK_THROWS_AS(writer.take(record(CopyStep::begin, FileType::directory, "taken")), base::Error);
    write_file(writer, "taken/file");
    writer.take(record(CopyStep::end, FileType::directory, "taken"));
    write_file(writer, "taken-not");
    CHECK(writer.files() == 2);
}

TEST_CASE("the content of a file has zeros for its holes") {
    auto pipe = base::make_pipe();
    guest::ContentWriter writer(pipe.write.get(), "pipe");
    auto begin = record(CopyStep::begin, FileType::file, "f");
    begin.status.size_bytes = 10;
    writer.take(begin);
    auto data = record(CopyStep::data, FileType::file, "f", "ab");
    data.number = 4;
    writer.take(data);
    writer.take(record(CopyStep::end, FileType::file, "f"));
    std::string got(100, '\0');
    got.resize(static_cast<std::size_t>(::read(pipe.read.get(), got.data(), got.size())));
    CHECK(got == std::string("\0\0\0\0ab\0\0\0\0", 10));
}
