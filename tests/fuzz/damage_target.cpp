// Law: whatever happens to the file of an archive that was published, raw, zstd or gzip, what a search finds
// whole is what was published; and a repair out of another copy gives back the published bytes, or leaves the
// file as it is, with an error.
#include <fcntl.h>
#include <sys/stat.h>

#include "access/extent_search.hpp"
#include "engine/ordered_writer.hpp"
#include "fuzz_target.hpp"
#include "publish/file_identity.hpp"
#include "repack/repair.hpp"
#include "support/dump.hpp"
#include "support/memory_file.hpp"
#include "support/random.hpp"
#include "support/temporary_directory.hpp"

namespace vmad::fuzz {
namespace {

using codec::ArchiveFormat;

constexpr std::uint64_t kRegion = canon::kRegionBytes;

/// A published archive and what is known of it.
struct Published {
    ArchiveFormat format;
    const char* ending;
    Bytes bytes{};
    vma::Header header{};
    verify::Fingerprint fingerprint{};
    std::map<std::uint64_t, Bytes> extents{};  ///< by the number of the first one that stands together
};

void make(Published& published) {
    io::FileSystem fs;
    auto guest = testing::plausible_guest({{"drive-scsi0", 2 * kRegion + 12288, {.zero_fraction = 0.97}},
                                           {"drive-scsi1", 9 * kRegion, {.zero_fraction = 1}}});
    guest.disks[1].content.changed[kRegion / 4096 * 3 + 5] = 77;
    const auto source = testing::memory_file(testing::dump(guest));
    const auto copy = testing::memory_file();
    engine::RepackOptions options;
    options.format = published.format;
    auto stream = codec::ArchiveSource::of_file(fs, source, io::CacheUse::keep, {});
    engine::OrderedWriter writer(fs, copy, {});
    published.fingerprint = engine::repack(fs, stream, writer, options).fingerprint;
    published.bytes = testing::content_of(copy);
    published.header = verify::canonical_header(fs, copy, published.format).value();
    const canon::Layout layout(published.header);
    access::FoundExtentReader reader(fs, copy, published.format);
    for (const auto& found : access::search_extents(fs, copy, published.format, layout, nullptr, {}).whole)
        published.extents[found.number] = reader.read(found);
}

const Published& published(std::size_t number) {
    static auto all = [] {
        std::vector<Published> made{
            {ArchiveFormat::raw, ""}, {ArchiveFormat::zstd, ".zst"}, {ArchiveFormat::gzip, ".gz"}};
        for (auto& one : made) make(one);
        return made;
    }();
    return all.at(number);
}

/// Other bytes, missing ones, more of them, pieces of it elsewhere; in places that frames and headers begin
/// at, too.
void damage(Bytes& bytes, Input& input) {
    for (auto count = 1 + input.below(4); count > 0 && !bytes.empty(); --count) {
        auto at = input.below(0xffffffff) % bytes.size();
        if (input.flag()) at = at / 4096 * 4096 + input.below(600);
        at = std::min(at, bytes.size() - 1);
        const auto length = std::min<std::size_t>(std::size_t{1} << input.below(17), bytes.size() - at);
        const auto place = bytes.begin() + static_cast<std::ptrdiff_t>(at);
        const auto end = place + static_cast<std::ptrdiff_t>(length);
        switch (input.below(6)) {
            case 0:
                *place ^= std::byte{input.take()};
                break;
            case 1:
                std::fill(place, end, std::byte{0});
                break;
            case 2:
                bytes.erase(place, end);
                break;
            case 3:
                bytes.insert(place, length, std::byte{input.take()});
                break;
            case 4: {
                const auto from = input.below(0xffffffff) % bytes.size();
                const Bytes copy(
                    bytes.begin() + static_cast<std::ptrdiff_t>(from),
                    bytes.begin() + static_cast<std::ptrdiff_t>(std::min(bytes.size(), from + length)));
                std::copy_n(copy.begin(), std::min(copy.size(), bytes.size() - at), place);
                break;
            }
            default: {
                const auto written = input.bytes(length);
                std::copy(written.begin(), written.end(), place);
            }
        }
    }
}

void search(View bytes, const Published& original) {
    io::FileSystem fs;
    const auto file = testing::memory_file(bytes);
    const canon::Layout layout(original.header);
    const auto found = access::search_extents(fs, file, original.format, layout, nullptr, {});
    access::FoundExtentReader reader(fs, file, original.format);
    for (const auto& extents : found.whole) {
        require(extents.stored_offset + extents.stored_bytes <= bytes.size(),
                "what is found lies in the file");
        require(extents.number + extents.count <= layout.extent_count(), "what is found is of the archive");
        const auto content = reader.read(extents);
        // The payload of a raw archive has no checksum.
        if (original.format == ArchiveFormat::raw) continue;
        const auto whole = original.extents.find(extents.number);
        if (whole != original.extents.end() && whole->second.size() == content.size())
            require(whole->second == content, "what is found whole is what was published");
    }
}

void repair(View bytes, const Published& original) {
    const support::TemporaryDirectory directory(scratch());
    const support::TemporaryDirectory state(scratch());
    const auto name = std::string("vzdump-qemu-100-2026_01_02-03_04_05.vma") + original.ending;
    const auto donor = std::string("vzdump-qemu-100-2026_01_03-03_04_05.vma") + original.ending;
    directory.write(name, text_of(bytes));
    directory.write(donor, text_of(original.bytes));
    io::FileSystem fs;
    repack::RepairOptions options;
    options.in_place.announced = true;
    options.in_place.lock_directory = state / "locks";
    options.in_place.reserve_bytes = 0;
    options.in_place.journal = [](const publish::RecoveryRecord&) {};
    options.donors = {directory / donor};
    struct stat status {};
    require(::stat((directory / name).c_str(), &status) == 0, "stat");
    verify::PublishedDigest digest{original.fingerprint.digest.to_hex(), {}};
    for (const auto& [disk, sum] : original.fingerprint.devices)
        digest.devices[disk] = sum.to_hex().substr(0, verify::kDeviceDigits);
    options.recorded = {digest, bytes.size(), publish::nanoseconds(status.st_mtim)};
    try {
        const auto result = repack::repair_in_place(fs, directory / name, options);
        if (result.in_place.outcome == repack::InPlaceOutcome::done)
            require(bytes_of(directory.read(name)) == original.bytes,
                    "what is repaired is what was published");
        else
            require(directory.read(name) == text_of(bytes), "what is not repaired stays as it was");
    } catch (const base::Error&) {
        require(directory.read(name) == text_of(bytes), "what cannot be repaired stays as it was");
    }
    require(bytes_of(directory.read(donor)) == original.bytes, "the other backup stays as it is");
    require(directory.names().size() == 2, "nothing is left beside them");
}

void run(View input_bytes) {
    Input input(input_bytes);
    const auto& original = published(input.below(3));
    auto bytes = original.bytes;
    damage(bytes, input);
    search(bytes, original);
    repair(bytes, original);
}

std::vector<Bytes> seeds() {
    std::vector<Bytes> result;
    for (unsigned seed = 0; seed < 18; ++seed) {
        Bytes bytes(40);
        testing::Random(seed).fill(bytes);
        bytes[0] = std::byte(seed % 3);
        result.push_back(std::move(bytes));
    }
    return result;
}

const Registration registration({"damage", 2, run, seeds});

}  // namespace
}  // namespace vmad::fuzz
