// Law: whatever guest is dumped, in whatever order and with whatever oddities the format allows, the engine
// writes what the reference writes; and every dump of one guest gives the same bytes.
#include "engine/ordered_writer.hpp"
#include "engine/repack.hpp"
#include "fuzz_target.hpp"
#include "support/dump.hpp"
#include "support/memory_file.hpp"
#include "support/random.hpp"
#include "support/reference.hpp"

namespace vmad::fuzz {
namespace {

constexpr const char* kNames[] = {
    "drive-scsi0",      "drive-scsi1", "drive-efidisk0", "drive-tpmstate0", "drive-virtio15",
    "drive-tpmstate0-", "a",           "drive-scsi10"};

testing::Guest take_guest(Input& input) {
    auto guest = testing::plausible_guest({});
    for (auto count = input.below(4); count > 0; --count) {
        testing::Disk disk{kNames[input.below(std::size(kNames))], 512 * (1 + input.below(12000)), {}};
        disk.content.seed = 1 + input.take();
        disk.content.zero_fraction = static_cast<double>(input.take()) / 255;
        disk.content.run_blocks = 1 + input.below(64);
        const auto is_same = [&](const auto& other) { return other.name == disk.name; };
        if (std::none_of(guest.disks.begin(), guest.disks.end(), is_same))
            guest.disks.push_back(std::move(disk));
    }
    if (!guest.configs.empty())
        guest.configs[0].data.resize(guest.configs[0].data.size() + input.below(2000));
    return guest;
}

testing::DumpOptions take_options(Input& input) {
    testing::DumpOptions options;
    options.seed = input.take<std::uint16_t>();
    const auto bits = input.take<std::uint16_t>();
    const auto bit = [&](unsigned n) { return (bits >> n & 1) != 0; };
    options.interleave = bit(0);
    options.ascending = bit(1);
    options.shuffle = bit(2);
    options.dirty_tails = bit(3);
    options.dirty_reserved = bit(4);
    options.blob_slack = bit(5);
    options.scattered_slots = bit(6);
    options.slot_gaps = bit(7) ? 0.3 : 0;
    options.empty_extents = bit(8) ? 0.3 : 0;
    options.stored_zeros = bit(9) ? 0.2 : 0;
    options.jitter = static_cast<unsigned>(input.below(40));
    options.injected = static_cast<double>(input.take()) / 255;
    options.slots_per_extent = static_cast<unsigned>(1 + input.below(59));
    return options;
}

Bytes repacked(View archive, Input& input) {
    io::FileSystem fs;
    const auto file = testing::memory_file(archive);
    const auto copy = testing::memory_file();
    engine::RepackOptions options;
    options.task.threads = static_cast<unsigned>(1 + input.below(3));
    options.memory_bytes = input.below(8) << 18;
    auto source = codec::ArchiveSource::of_file(fs, file, io::CacheUse::keep, {});
    engine::OrderedWriter writer(fs, copy, {});
    (void)engine::repack(fs, source, writer, options);
    return testing::content_of(copy);
}

void run(View bytes) {
    Input input(bytes);
    const auto guest = take_guest(input);
    const auto first = testing::dump(guest, take_options(input));
    const auto second = testing::dump(guest, take_options(input));
    const auto expected = testing::reference_repack(first);
    require(testing::extract(first) == testing::contents_of(guest), "the reference restores the guest");
    require(repacked(first, input) == expected, "the engine writes what the reference writes");
    require(repacked(second, input) == expected, "the other dump gives the same bytes");
}

std::vector<Bytes> seeds() {
    std::vector<Bytes> result;
    for (unsigned seed = 0; seed < 12; ++seed) {
        Bytes bytes(64);
        if (seed > 0) testing::Random(seed).fill(bytes);
        result.push_back(std::move(bytes));
    }
    return result;
}

const Registration registration({"dump", 2, run, seeds});

}  // namespace
}  // namespace vmad::fuzz
