#include "codec/archive_format.hpp"

#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/error.hpp"

namespace vmad::codec {
namespace {

/// The bytes by which a file is known; of the first one, only the bits in `first_mask` count.
struct Magic {
    std::array<std::uint8_t, kFormatBytes> bytes;
    std::size_t length;
    std::uint8_t first_mask = 0xff;
};

constexpr Magic kZstd{{0x28, 0xb5, 0x2f, 0xfd}, 4};
/// A stream may open with a frame that holds something else.
constexpr Magic kSkippable{{0x50, 0x2a, 0x4d, 0x18}, 4, 0xf0};
constexpr Magic kGzip{{0x1f, 0x8b}, 2};
constexpr Magic kLzop{{0x89, 'L', 'Z', 'O', 0x00, 0x0d, 0x0a, 0x1a, 0x0a}, 9};
constexpr Magic kBzip2{{'B', 'Z', 'h'}, 3};
constexpr Magic kXz{{0xfd, '7', 'z', 'X', 'Z', 0x00}, 6};

constexpr std::pair<std::string_view, ArchiveFormat> kEndings[] = {{".vma", ArchiveFormat::raw},
                                                                   {".zst", ArchiveFormat::zstd},
                                                                   {".gz", ArchiveFormat::gzip},
                                                                   {".lzo", ArchiveFormat::lzo}};

/// Of what a VMA archive is not, whether or not it is compressed besides.
constexpr std::string_view kOtherEndings[] = {".bz2",  ".xz",  ".lzma", ".lz4",   ".lz",   ".br",  ".Z",
                                              ".zip",  ".7z",  ".rar",  ".zstd",  ".tar",  ".tgz", ".tzst",
                                              ".iso",  ".img", ".raw",  ".qcow2", ".vmdk", ".vdi", ".vhd",
                                              ".vhdx", ".ova", ".log",  ".notes"};

bool begins_with(std::span<const std::byte> bytes, const Magic& magic) {
    if (bytes.size() < magic.length) return false;
    const auto byte = [&](std::size_t i) { return std::to_integer<std::uint8_t>(bytes[i]); };
    if ((byte(0) & magic.first_mask) != magic.bytes[0]) return false;
    for (std::size_t i = 1; i < magic.length; ++i)
        if (byte(i) != magic.bytes[i]) return false;
    return true;
}

}  // namespace

ArchiveFormat format_of_content(std::span<const std::byte> bytes) {
    if (begins_with(bytes, kZstd) || begins_with(bytes, kSkippable)) return ArchiveFormat::zstd;
    if (begins_with(bytes, kGzip)) return ArchiveFormat::gzip;
    if (begins_with(bytes, kLzop)) return ArchiveFormat::lzo;
    if (begins_with(bytes, kBzip2))
        throw base::Unsupported("bzip2 archives are not supported: decompress it with bunzip2 first");
    if (begins_with(bytes, kXz))
        throw base::Unsupported("xz archives are not supported: decompress it with unxz first");
    return ArchiveFormat::raw;
}

ArchiveFormat format_of_file(io::FileSystem& fs, const io::File& file) {
    std::vector<std::byte> bytes(kFormatBytes);
    bytes.resize(io::read_fully_at(fs, file, bytes, 0));
    return format_of_content(bytes);
}

std::optional<ArchiveFormat> format_of_name(std::string_view name) {
    std::optional<ArchiveFormat> format;
    auto stem = name;
    for (const auto& [ending, known] : kEndings) {
        if (!name.ends_with(ending)) continue;
        format = known;
        stem.remove_suffix(ending.size());
    }
    if (format == ArchiveFormat::raw) return format;
    for (const auto ending : kOtherEndings)
        if (stem.ends_with(ending))
            throw base::UsageError(
                fmt::format("{}: \"{}\" is not a format that can be written: end the name in .vma, .vma.zst, "
                            ".vma.gz or .vma.lzo",
                            name, ending));
    return format;
}

std::string name_warning(std::string_view name, ArchiveFormat format) {
    static constexpr std::array kEndings{".vma", ".vma.zst", ".vma.gz", ".vma.lzo"};
    const auto named = format_of_name(name);
    if (!named || *named == format) return "";
    return fmt::format(
        "it is {}, and its name says {}: Proxmox VE cannot restore it under this name; rename it "
        "so that it ends in {}",
        format_name(format), format_name(*named), kEndings[static_cast<std::size_t>(format)]);
}

const char* format_name(ArchiveFormat format) noexcept {
    switch (format) {
        case ArchiveFormat::raw:
            return "raw";
        case ArchiveFormat::zstd:
            return "zstd";
        case ArchiveFormat::gzip:
            return "gzip";
        case ArchiveFormat::lzo:
            return "lzo";
    }
    return "";
}

}  // namespace vmad::codec
