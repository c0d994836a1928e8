// Law: whatever is in the file that keeps the extent headers of an archive, its disks read as without it.
// Where it was made up with knowledge of the archive, reading it ends, and stays within the archive.
#include <filesystem>

#include "access/disk_reader.hpp"
#include "access/index_cache.hpp"
#include "base/error.hpp"
#include "edits.hpp"
#include "streams.hpp"
#include "support/dump.hpp"
#include "support/memory_file.hpp"
#include "support/reference.hpp"
#include "support/temporary_directory.hpp"

namespace vmad::fuzz {
namespace {

using support::TemporaryDirectory;
using Disks = std::map<std::string, Bytes>;

/// An archive, what its disks hold, and what is kept of it.
struct Stage {
    TemporaryDirectory directory{scratch()};
    io::FileSystem fs;
    io::File archive;
    Disks disks;
    access::IndexCache cache{{.directory = directory / "cache", .min_headers = 0}};
    std::string name;
    Bytes stored;

    explicit Stage(bool is_canonical) {
        const auto guest = testing::plausible_guest(
            {{"drive-scsi0", 5 << 20, {.zero_fraction = 0.98}}, {"drive-efidisk0", 540672, {.seed = 2}}});
        const auto dumped = testing::dump(guest);
        archive = testing::memory_file(is_canonical ? testing::reference_repack(dumped) : dumped);
        disks = testing::extract(dumped).disks;
        (void)access::ArchiveIndex::read(fs, archive, {}, &cache);
        const auto file = std::filesystem::directory_iterator(directory / "cache")->path();
        name = "cache/" + file.filename().string();
        stored = bytes_of(directory.read(name));
    }

    /// What the disks hold when this is kept.
    Disks read(View kept) {
        directory.write(name, text_of(kept));
        const auto index = access::ArchiveIndex::read(fs, archive, {}, &cache);
        access::DiskReader reader(*index, {.memory_bytes = 8 << 20, .read_ahead = 1});
        Disks result;
        for (const auto& device : index->header().devices) {
            auto& disk = result[device.name];
            disk.resize(device.size_bytes);
            reader.read_at(device.id, 0, disk);
        }
        return result;
    }
};

void run(View bytes) {
    static Stage stages[] = {Stage(false), Stage(true)};
    Input input(bytes);
    auto& stage = stages[input.below(2)];
    if (input.flag()) {
        auto stored = stage.stored;
        edit(stored, input, 1 << 16);
        require(stage.read(stored) == stage.disks, "the disks read as without the file");
        return;
    }
    auto headers = stock_unzstd(stage.stored).value();
    edit(headers, input, 1 << 16);
    try {
        (void)stage.read(frame_of(codec::ArchiveFormat::zstd, headers));
    } catch (const base::Error&) {
    }
}

std::vector<Bytes> seeds() {
    std::vector<Bytes> result;
    for (unsigned seed = 0; seed < 16; ++seed) {
        Bytes edits(10);
        for (std::size_t i = 0; i < edits.size(); ++i) edits[i] = static_cast<std::byte>(seed * 37 + i * 11);
        edits[0] = static_cast<std::byte>(seed & 1);
        edits[1] = static_cast<std::byte>(seed >> 1 & 1);
        result.push_back(std::move(edits));
    }
    return result;
}

const Registration registration({"cache", 12, run, seeds});

}  // namespace
}  // namespace vmad::fuzz
