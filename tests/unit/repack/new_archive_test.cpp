#include "repack/new_archive.hpp"

#include <fcntl.h>

#include <doctest/doctest.h>

#include "support/dump.hpp"
#include "support/fault_file_system.hpp"
#include "support/memory_file.hpp"
#include "support/reference.hpp"
#include "support/temporary_directory.hpp"

using namespace vmad;

namespace {

std::string text_of(const testing::Bytes& bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

engine::RepackResult copy_file(io::FileSystem& fs, const std::string& from, const std::string& to,
                               const repack::NewArchiveOptions& options) {
    const auto file = fs.open(from, O_RDONLY);
    auto source = codec::ArchiveSource::of_file(fs, file, io::CacheUse::keep, {});
    return repack::repack_to_file(fs, source, &file, to, options);
}

testing::Bytes archive() {
    static const auto bytes = testing::dump(testing::plausible_guest({{"drive-scsi0", 1 << 20, {}}}));
    return bytes;
}

}  // namespace

TEST_CASE("the copy appears whole, with and without unnamed files, and an existing one only by force") {
    const support::TemporaryDirectory directory(support::TemporaryDirectory::fast_base());
    directory.write("a", text_of(archive()));
    const auto expected = text_of(testing::reference_repack(archive()));
    for (const bool has_unnamed : {true, false}) {
        support::FaultFileSystem fs;
        fs.has_unnamed = has_unnamed;
        (void)copy_file(fs, directory / "a", directory / "b", {});
        CHECK(directory.read("b") == expected);
        CHECK_THROWS_WITH_AS((void)copy_file(fs, directory / "a", directory / "b", {}),
                             ((directory / "b") + " exists; --force replaces it").c_str(), base::UsageError);
        directory.write("b", "old");
        repack::NewArchiveOptions force;
        force.force = true;
        (void)copy_file(fs, directory / "a", directory / "b", force);
        CHECK(directory.read("b") == expected);
        CHECK_THROWS_AS((void)copy_file(fs, directory / "a", directory / "a", force), base::UsageError);
        CHECK(directory.names() == std::set<std::string>{"a", "b"});
        directory.remove("b");
    }
}

TEST_CASE("whichever operation fails, the destination is whole, old or absent, and nothing else is left") {
    const support::TemporaryDirectory directory(support::TemporaryDirectory::fast_base());
    directory.write("a", text_of(archive()));
    const auto expected = text_of(testing::reference_repack(archive()));
    for (const bool exists : {false, true}) {
        for (const bool has_unnamed : {true, false}) {
            for (unsigned failing = 1;; ++failing) {
                CAPTURE(failing);
                if (exists) directory.write("b", "old");
                support::FaultFileSystem fs;
                fs.has_unnamed = has_unnamed;
                bool failed = false;
                fs.before = [&](const support::Call& call) {
                    if (call.number != failing) return;
                    failed = true;
                    support::FaultFileSystem::fail(EIO, call);
                };
                repack::NewArchiveOptions options;
                options.force = exists;
                bool threw = false;
                try {
                    (void)copy_file(fs, directory / "a", directory / "b", options);
                } catch (const base::Error&) {
                    threw = true;
                }
                const auto names = directory.names();
                CHECK((names == std::set<std::string>{"a", "b"} ||
                       (!exists && names == std::set<std::string>{"a"})));
                if (directory.has("b"))
                    CHECK((directory.read("b") == expected || (exists && directory.read("b") == "old")));
                if (!threw) CHECK(directory.read("b") == expected);
                if (directory.has("b")) directory.remove("b");
                if (!failed) break;
            }
        }
    }
}
