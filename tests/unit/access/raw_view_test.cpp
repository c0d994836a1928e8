#include "access/raw_view.hpp"

#include <thread>

#include <doctest/doctest.h>

#include "codec/seek_table.hpp"
#include "support/dump.hpp"
#include "support/memory_file.hpp"
#include "support/random.hpp"
#include "support/reference.hpp"

using namespace vmad;
using access::RawView;
using testing::Bytes;

namespace {

io::FileSystem& fs() {
    static io::FileSystem real;
    return real;
}

std::unique_ptr<RawView> view_of(const io::File& file, RawView::Options options = {}) {
    return RawView::open(fs(), file, std::move(options));
}

bool equals(const Bytes& found, std::uint64_t offset, testing::View archive) {
    return std::equal(found.begin(), found.end(), archive.begin() + static_cast<std::ptrdiff_t>(offset));
}

/// Reads at random places, and now and then some MiB one behind the other. False when anything differs.
bool is_same_at_random(RawView& view, testing::View archive, std::uint64_t seed) {
    testing::Random random(seed);
    for (unsigned round = 0; round < 60; ++round) {
        auto at = random.below(archive.size());
        const unsigned steps = random.chance(0.1) ? 40 : 1;
        for (unsigned step = 0; step < steps && at < archive.size(); ++step) {
            const auto most = random.chance(0.1) ? std::uint64_t{5} << 20 : std::uint64_t{128} << 10;
            Bytes found(std::min(archive.size() - at, 1 + random.below(most)), std::byte{0xaa});
            view.read_at(at, found);
            if (!equals(found, at, archive)) return false;
            at += found.size();
        }
    }
    return true;
}

/// Some regions of two disks are stored.
testing::Guest sparse_guest() {
    auto guest = testing::plausible_guest(
        {{"drive-scsi0", 36 << 20, {.zero_fraction = 1}}, {"drive-scsi1", 5 << 20, {.zero_fraction = 0.5}}});
    for (const std::uint64_t region : {2, 3, 6, 9, 17})
        guest.disks[0].content.changed[region * canon::kRegionBytes / vma::kBlockSize] = region;
    return guest;
}

struct Piece {
    codec::SeekFrame frame;
    std::uint64_t offset;  ///< in the archive
};

std::vector<Piece> pieces_of(const io::File& file) {
    auto table = codec::read_seek_table(fs(), file).table.value();
    std::vector<Piece> pieces;
    std::uint64_t offset = 0;
    for (std::uint64_t i = 0; i < table.size(); ++i) {
        pieces.push_back({table[i], offset});
        offset += table[i].bytes;
    }
    return pieces;
}

/// What the view has there; nothing when it cannot be read.
std::optional<Bytes> content_of(RawView& view, const Piece& piece) {
    Bytes content(piece.frame.bytes);
    try {
        view.read_at(piece.offset, content);
    } catch (const base::Error&) {
        return std::nullopt;
    }
    return content;
}

}  // namespace

TEST_CASE("law: a view has the bytes of the raw canonical archive, in whatever order they are read" *
          doctest::test_suite("single-threaded")) {
    for (std::uint64_t seed = 1; seed <= 40; ++seed) {
        CAPTURE(seed);
        const auto guest = seed == 1 ? sparse_guest() : testing::random_guest(seed);
        const auto archive =
            testing::reference_repack(testing::dump(guest, testing::random_dump_options(seed)));
        const auto raw = testing::memory_file(archive);
        const auto zstd = testing::memory_file(testing::reference_zstd(archive, 3));
        for (const auto* file : {&raw, &zstd}) {
            CHECK(RawView::size_of(fs(), *file) == archive.size());
            const auto view = view_of(*file);
            REQUIRE(view);
            REQUIRE(view->size_bytes() == archive.size());
            CHECK(is_same_at_random(*view, archive, seed));
            Bytes all(archive.size());
            view->read_at(0, all);
            CHECK(all == archive);
        }
    }
}

TEST_CASE("many threads read one view, with little memory and with much") {
    const auto archive = testing::reference_repack(testing::dump(sparse_guest()));
    const auto file = testing::memory_file(testing::reference_zstd(archive, 3));
    for (const std::uint64_t memory : {0, 3 << 20, 64 << 20})
        for (const unsigned ahead : {0, 1, 7}) {
            const auto view = view_of(file, {.memory_bytes = memory, .read_ahead = ahead});
            std::array<bool, 6> same{};
            std::vector<std::thread> threads;
            for (std::size_t i = 0; i < same.size(); ++i)
                threads.emplace_back([&, i] { same[i] = is_same_at_random(*view, archive, i); });
            for (auto& thread : threads) thread.join();
            CHECK(std::all_of(same.begin(), same.end(), [](bool one) { return one; }));
        }
}

TEST_CASE("law: a flipped bit makes its piece unreadable, and no other" *
          doctest::test_suite("single-threaded")) {
    const auto archive = testing::reference_repack(testing::dump(sparse_guest()));
    const auto good = testing::reference_zstd(archive, 3);
    const auto pieces = pieces_of(testing::memory_file(good));
    REQUIRE(pieces.size() > 12);
    for (std::size_t damaged = 1; damaged < pieces.size(); ++damaged) {
        CAPTURE(damaged);
        auto bad = good;
        bad[pieces[damaged].frame.stored_offset + 12] ^= std::byte{0x10};
        const auto file = testing::memory_file(bad);
        std::vector<std::string> reported;
        const auto view = view_of(
            file, {.report_damage = [&](const base::Error& error) { reported.emplace_back(error.what()); }});
        REQUIRE(view);
        for (unsigned round = 0; round < 2; ++round)
            for (std::size_t i = 0; i < pieces.size(); ++i) {
                const auto content = content_of(*view, pieces[i]);
                CHECK(content.has_value() == (i != damaged));
                if (content) CHECK(equals(*content, pieces[i].offset, archive));
            }
        REQUIRE(reported.size() == 1);
        CHECK(reported[0].find("damaged") != std::string::npos);
    }
}

TEST_CASE("a damaged region is named by its disk") {
    const auto archive = testing::reference_repack(testing::dump(sparse_guest()));
    auto zstd = testing::reference_zstd(archive, 3);
    const auto pieces = pieces_of(testing::memory_file(zstd));
    const auto first = std::find_if(pieces.begin() + 1, pieces.end(),
                                    [](const Piece& piece) { return piece.frame.bytes > 4096; });
    zstd[first->frame.stored_offset + 12] ^= std::byte{0x10};
    const auto file = testing::memory_file(zstd);
    Bytes byte(1);
    CHECK_THROWS_WITH(view_of(file)->read_at(first->offset, byte),
                      "drive-scsi1: bytes 0 to 2097151 are damaged in the archive");
}

TEST_CASE("what is not canonical, cut off, or compressed without a seek table has no view") {
    const auto dumped = testing::dump(sparse_guest());
    const auto archive = testing::reference_repack(dumped);
    const auto zstd = testing::reference_zstd(archive, 3);
    auto damaged_header = zstd;
    damaged_header[pieces_of(testing::memory_file(zstd))[0].frame.stored_offset + 12] ^= std::byte{1};
    std::vector<Bytes> refused{dumped, testing::reference_zstd(dumped, 3), damaged_header, {}, Bytes(70000)};
    for (const auto* whole : {&archive, &zstd})
        for (std::size_t size = 0; size < whole->size(); size += 99'991)
            refused.emplace_back(whole->begin(), whole->begin() + static_cast<std::ptrdiff_t>(size));
    for (const std::size_t missing : {1, 9, 17, 512, 4096})
        refused.emplace_back(archive.begin(), archive.end() - static_cast<std::ptrdiff_t>(missing));
    for (std::size_t i = 0; i < refused.size(); ++i) {
        CAPTURE(i);
        const auto file = testing::memory_file(refused[i]);
        CHECK_FALSE(RawView::size_of(fs(), file));
        CHECK_FALSE(view_of(file));
    }
}
