#include "codec/archive_format.hpp"

#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "base/error.hpp"

namespace vmad::codec {
namespace {

using namespace std::string_literals;

ArchiveFormat kind_of(const std::string& text) { return format_of_content(std::as_bytes(std::span(text))); }

TEST_CASE("the format of a file is told by its first bytes, and by nothing shorter") {
    const std::vector<std::pair<std::string, ArchiveFormat>> magics = {
        {"\x28\xb5\x2f\xfd"s, ArchiveFormat::zstd}, {"\x50\x2a\x4d\x18"s, ArchiveFormat::zstd},
        {"\x5e\x2a\x4d\x18"s, ArchiveFormat::zstd}, {"\x5f\x2a\x4d\x18"s, ArchiveFormat::zstd},
        {"\x1f\x8b"s, ArchiveFormat::gzip},         {"\x89LZO\0\r\n\x1a\n"s, ArchiveFormat::lzo},
    };
    for (const auto& [magic, format] : magics) {
        CAPTURE(magic);
        CHECK(kind_of(magic) == format);
        CHECK(kind_of(magic + "and more") == format);
        for (std::size_t size = 0; size < magic.size(); ++size)
            CHECK(kind_of(magic.substr(0, size)) == ArchiveFormat::raw);
        for (std::size_t i = 0; i < magic.size(); ++i) {
            auto other = magic;
            other[i] = static_cast<char>(other[i] ^ 0x80);
            CHECK(kind_of(other) == ArchiveFormat::raw);
        }
    }
    CHECK(kind_of("VMA\0\0\0\0\1x"s) == ArchiveFormat::raw);
    CHECK(kind_of("\x60\x2a\x4d\x18"s) == ArchiveFormat::raw);
    CHECK(kind_of("\x27\xb5\x2f\xfd"s) == ArchiveFormat::raw);  // zstd before 1.0
    CHECK(kind_of("") == ArchiveFormat::raw);
}

TEST_CASE("what vzdump does not write is refused with the way out") {
    CHECK_THROWS_WITH_AS(kind_of("BZh91AY&SY"),
                         "bzip2 archives are not supported: decompress it with bunzip2 first",
                         base::Unsupported);
    CHECK_THROWS_WITH_AS(kind_of("\xfd"s + "7zXZ\0\0\4"s),
                         "xz archives are not supported: decompress it with unxz first", base::Unsupported);
}

TEST_CASE("the ending of a name tells a format") {
    const std::string backup = "vzdump-qemu-100-2026_01_01-00_00_00";
    const std::pair<const char*, ArchiveFormat> table[] = {{".vma", ArchiveFormat::raw},
                                                           {".vma.zst", ArchiveFormat::zstd},
                                                           {".vma.gz", ArchiveFormat::gzip},
                                                           {".vma.lzo", ArchiveFormat::lzo}};
    for (const auto& [ending, format] : table) {
        CHECK(format_of_name(backup + ending) == format);
        CHECK(!format_of_name(backup + ending + ".part"));
    }
    CHECK(format_of_name("dump/x.zst") == ArchiveFormat::zstd);
    for (const auto* name : {"", "vma", "x.vma.", "x.part", "-"}) CHECK(!format_of_name(name));
    for (const auto* name : {"x.bz2", "x.vma.bz2", "x.vma.xz", "x.vma.zstd", "x.tar", "x.tar.zst", "x.iso",
                             "x.qcow2", "x.qcow2.gz", "x.raw", "x.zip"}) {
        CAPTURE(name);
        CHECK_THROWS_AS((void)format_of_name(name), base::UsageError);
    }
    CHECK(format_of_name("x.qcow2.vma") == ArchiveFormat::raw);
}

}  // namespace
}  // namespace vmad::codec
