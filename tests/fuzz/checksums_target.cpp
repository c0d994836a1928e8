// Law: a file of the checksum store is used or counts as not there, whatever is in it: what is found has
// regions in order, each once and on its disk. Other bytes than those that were recorded are used only where
// they say of which archive they are.
#include <fcntl.h>

#include <filesystem>

#include "access/checksum_store.hpp"
#include "canon/layout.hpp"
#include "edits.hpp"
#include "streams.hpp"
#include "support/temporary_directory.hpp"

namespace vmad::fuzz {
namespace {

using support::TemporaryDirectory;

/// An archive and what is kept of it.
struct Stage {
    TemporaryDirectory directory{scratch()};
    io::FileSystem fs;
    access::ChecksumStore store{directory / "regions"};
    io::File archive;
    std::string file;  ///< of the store
    Bytes content;     ///< of that file

    Stage() {
        directory.write("a.vma", "x");
        archive = fs.open(directory / "a.vma", O_RDONLY);
        access::ChecksumRecording recording(fs, store);
        recording.begin({{5, "drive-scsi0", 9 * canon::kRegionBytes}, {58, "drive-efidisk0", 540672}});
        for (const std::uint32_t region : {0, 7, 3})
            recording.add(5, {region, 4096, region, 600, 65536 + region});
        recording.add(58, {0, 8192, 9, 700, 90000});
        recording.finish(archive);
        file = std::filesystem::directory_iterator(directory / "regions")->path();
        content = stock_unzstd(bytes_of(directory.read("regions/" + name()))).value();
    }
    [[nodiscard]] std::string name() const { return std::filesystem::path(file).filename(); }
};

Stage& stage() {
    static Stage made;
    return made;
}

void check(const std::vector<access::DiskChecksums>& disks) {
    require(disks.size() <= vma::kDeviceSlots, "there are so many disks at most");
    for (const auto& disk : disks)
        for (std::size_t i = 0; i < disk.regions.size(); ++i) {
            require(i == 0 || disk.regions[i - 1].region < disk.regions[i].region,
                    "regions are in order, each once");
            require(disk.regions[i].region * std::uint64_t{canon::kRegionBytes} < disk.device.size_bytes,
                    "regions lie on their disk");
        }
}

void run(View bytes) {
    Input input(bytes);
    const bool is_compressed = input.flag();
    auto content = stage().content;
    if (is_compressed)
        edit(content, input, 8192);
    else
        content = [&] {
            const auto rest = input.rest();
            return Bytes(rest.begin(), rest.end());
        }();
    const auto stored = is_compressed ? frame_of(codec::ArchiveFormat::zstd, content) : content;
    stage().directory.write("regions/" + stage().name(), text_of(stored));
    const auto found = stage().store.find(stage().fs, stage().archive);
    if (found) check(*found);
    require(found || content != stage().content || !is_compressed, "what was recorded is found");
}

std::vector<Bytes> seeds() {
    auto stored = frame_of(codec::ArchiveFormat::zstd, stage().content);
    stored.insert(stored.begin(), std::byte{0});
    std::vector<Bytes> result{stored, {std::byte{1}}};
    for (unsigned seed = 0; seed < 8; ++seed) {
        Bytes changes(8);
        for (std::size_t i = 0; i < changes.size(); ++i)
            changes[i] = static_cast<std::byte>(seed * 37 + i * 11);
        changes[0] = std::byte{1};
        result.push_back(std::move(changes));
    }
    return result;
}

const Registration registration({"checksums", 100, run, seeds});

}  // namespace
}  // namespace vmad::fuzz
