// Law: a repack in place leaves what the reference refuses byte for byte as it was, with an error; what it
// accepts becomes, byte for byte, what the reference makes of it, restores to the same, and stays as it is
// the next time; but where all headers are canonical, blocks are not looked at. The same for a repack of any
// format into any other, of any memory and number of threads. Raw, zstd and gzip, by the real publishing, in
// memory.
#include <fcntl.h>

#include "compact_archive.hpp"
#include "engine/ordered_writer.hpp"
#include "repack/in_place.hpp"
#include "streams.hpp"
#include "support/archive_index.hpp"
#include "support/memory_file.hpp"
#include "support/reference.hpp"
#include "support/temporary_directory.hpp"
#include "verify/copy_verification.hpp"

namespace vmad::fuzz {
namespace {

using codec::ArchiveFormat;
using repack::InPlaceOutcome;

constexpr ArchiveFormat kFormats[] = {ArchiveFormat::raw, ArchiveFormat::zstd, ArchiveFormat::gzip};
constexpr const char* kEndings[] = {"", ".zst", ".gz"};

struct Choice {
    unsigned from = 0;  ///< of kFormats
    unsigned to = 0;
    std::size_t piece_bytes = 0;  ///< that a frame or member of the source holds
    engine::RepackOptions options;
};

Choice choose(Input& input) {
    Choice choice;
    choice.from = static_cast<unsigned>(input.below(std::size(kFormats)));
    choice.to = static_cast<unsigned>(input.below(std::size(kFormats)));
    choice.piece_bytes = std::size_t{4096} << input.below(12);
    choice.options.task.threads = static_cast<unsigned>(1 + input.below(3));
    choice.options.memory_bytes = input.below(4) << 18;
    choice.options.zstd_level = 1;
    choice.options.format = kFormats[choice.to];
    return choice;
}

Bytes store(View archive, const Choice& choice) {
    if (choice.from == 0) return {archive.begin(), archive.end()};
    Bytes stored;
    do {
        const auto piece = archive.first(std::min(choice.piece_bytes, archive.size()));
        archive = archive.subspan(piece.size());
        append(stored, frame_of(kFormats[choice.from], piece));
    } while (!archive.empty());
    return stored;
}

Bytes uncompressed(View stored, unsigned format) {
    if (format == 0) return {stored.begin(), stored.end()};
    const auto content = format == 1 ? stock_unzstd(stored) : stock_gunzip(stored);
    require(content.has_value(), "the stock library decompresses what was written");
    return *content;
}

struct Expected {
    Bytes canonical;
    testing::Contents contents;
    bool has_odd_block = false;
};

/// Whether a block is stored that is all zero, or holds something behind the end of its device: not by
/// headers can one tell.
bool has_odd_block(const testing::ArchiveIndex& index) {
    for (const auto& [place, blocks] : index.clusters)
        for (std::size_t b = 0; b < blocks.size(); ++b) {
            if (blocks[b].empty()) continue;
            const auto begin = place.second * testing::kClusterBytes + b * testing::kBlockBytes;
            const auto size_bytes = index.devices.at(place.first).size_bytes;
            const auto room =
                std::min<std::uint64_t>(size_bytes - std::min(size_bytes, begin), blocks[b].size());
            if (testing::all_zero(blocks[b].first(room)) || !testing::all_zero(blocks[b].subspan(room)))
                return true;
        }
    return false;
}

std::optional<Expected> reference(View archive) {
    try {
        return Expected{testing::reference_repack(archive), testing::extract(archive),
                        has_odd_block(testing::ArchiveIndex(archive))};
    } catch (const testing::Refused&) {
        return std::nullopt;
    }
}

void compare(View stored, unsigned format, const Expected& expected) {
    if (format == 1)
        require(Bytes(stored.begin(), stored.end()) == testing::reference_zstd(expected.canonical, 1),
                "the zstd file is the reference's");
    const auto found = uncompressed(stored, format);
    require(found == expected.canonical, "the archive is the reference's");
    require(testing::extract(found) == expected.contents, "it restores to the same");
}

void repack_in_place(View stored, const Choice& choice, const std::optional<Expected>& expected) {
    const support::TemporaryDirectory directory(scratch());
    const support::TemporaryDirectory state(scratch());
    const auto name = std::string("vzdump-qemu-100-2026_01_02-03_04_05.vma") + kEndings[choice.from];
    directory.write(name, text_of(stored));
    io::FileSystem fs;
    repack::InPlaceOptions options;
    options.repack = choice.options;
    options.announced = true;
    options.lock_directory = state / "locks";
    options.reserve_bytes = 0;
    options.journal = [](const publish::RecoveryRecord&) {};
    try {
        const auto result = repack::repack_in_place(fs, directory / name, options);
        require(expected.has_value(), "what the reference refuses is refused");
        require(result.outcome == InPlaceOutcome::done || result.outcome == InPlaceOutcome::unchanged,
                "an archive that nobody else touches is done");
        if (result.outcome == InPlaceOutcome::unchanged && expected->has_odd_block)
            require(directory.read(name) == text_of(stored), "what is unchanged stays as it was");
        else
            compare(bytes_of(directory.read(name)), choice.from, *expected);
        require(repack::repack_in_place(fs, directory / name, options).outcome == InPlaceOutcome::unchanged,
                "the next repack changes nothing");
    } catch (const base::Error& error) {
        require(!expected, error.what());
        require(directory.read(name) == text_of(stored), "what is refused stays as it was");
    }
    require(directory.names().size() == 1, "nothing is left beside the archive");
}

void repack_to_other(View stored, const Choice& choice, const std::optional<Expected>& expected) {
    io::FileSystem fs;
    const auto file = testing::memory_file(stored);
    const auto copy = testing::memory_file();
    try {
        auto source = codec::ArchiveSource::of_file(fs, file, io::CacheUse::keep,
                                                    {choice.options.task.threads, nullptr});
        engine::OrderedWriter writer(fs, copy, {});
        const auto result = engine::repack(fs, source, writer, choice.options);
        require(expected.has_value(), "what the reference refuses is refused");
        verify::CopyVerification(fs, copy, choice.options.format, choice.options.task,
                                 verify::ReadBack::afterwards)
            .finish(result.fingerprint);
    } catch (const base::Error& error) {
        require(!expected, error.what());
        return;
    }
    compare(testing::content_of(copy), choice.to, *expected);
}

void run(View bytes) {
    Input input(bytes);
    const auto choice = choose(input);
    // A build for fuzzing takes a canonical archive with other checksums for one that is done.
    const auto& archive = expand(input.rest(), false);
    const auto expected = reference(archive);
    const auto stored = store(archive, choice);
    if (choice.from == choice.to)
        repack_in_place(stored, choice, expected);
    else
        repack_to_other(stored, choice, expected);
}

std::vector<Bytes> seeds() {
    std::vector<Bytes> result;
    unsigned number = 0;
    for (const auto& archive : compact_seeds())
        for (unsigned i = 0; i < 3; ++i, ++number) {
            const auto n = [&](unsigned divisor, unsigned end) { return std::byte(number / divisor % end); };
            Bytes seed{n(1, 3), number % 2 == 0 ? n(1, 3) : n(3, 3), n(2, 12), n(1, 3), n(3, 4)};
            append(seed, archive);
            result.push_back(std::move(seed));
        }
    return result;
}

const Registration registration({"repack", 4, run, seeds});

}  // namespace
}  // namespace vmad::fuzz
