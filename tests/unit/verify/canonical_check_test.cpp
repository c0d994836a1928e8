// Archives that are almost canonical: their headers tell that they are not, and so does reading them.
#include "verify/canonical_check.hpp"

#include <functional>

#include <doctest/doctest.h>

#include "codec/seek_table.hpp"
#include "codec/zstd_form.hpp"
#include "engine/engine_run.hpp"
#include "support/archive_parts.hpp"
#include "support/dump.hpp"
#include "support/reference.hpp"

using namespace vmad;
using testing::Bytes;

namespace {

/// Zero regions at the beginning, in the middle and at the end of a group.
Bytes canonical_archive() {
    auto guest = testing::plausible_guest({{"drive-scsi0", 36 << 20, {.zero_fraction = 1}}});
    for (const std::uint64_t region : {2, 3, 6, 9, 17}) guest.disks[0].content.changed[region * 512] = region;
    return testing::reference_repack(testing::dump(guest));
}

/// The content of each frame of a canonical archive, the header's first.
std::vector<Bytes> pieces_of(const Bytes& archive) {
    const testing::ArchiveParts parts(archive);
    std::vector<Bytes> pieces{parts.header};
    std::size_t last_group = SIZE_MAX;
    for (std::size_t i = 0; i < parts.extents.size(); ++i) {
        const auto& [head, data] = parts.extents[i];
        if (!data.empty() || last_group != i / 8) pieces.emplace_back();
        last_group = data.empty() ? i / 8 : SIZE_MAX;
        pieces.back().insert(pieces.back().end(), head.begin(), head.end());
        pieces.back().insert(pieces.back().end(), data.begin(), data.end());
    }
    return pieces;
}

struct Form {
    bool fillings = true;
    bool checksums = true;
};

Bytes stored(const std::vector<Bytes>& pieces, const Form& form) {
    const auto encoder = codec::make_frame_encoder(codec::ArchiveFormat::zstd, 3);
    const auto append = [](Bytes& to, testing::View bytes) {
        to.insert(to.end(), bytes.begin(), bytes.end());
    };
    Bytes file;
    Bytes entries;
    for (std::size_t i = 0; i < pieces.size(); ++i) {
        const auto begin = file.size();
        const iovec slice{const_cast<std::byte*>(pieces[i].data()), pieces[i].size()};
        Bytes frame(encoder->bound(pieces[i].size()));
        frame.resize(encoder->encode({&slice, 1}, frame));
        append(file, frame);
        if (form.fillings && i + 1 < pieces.size() && pieces[i + 1].size() > 4096)
            append(file, codec::make_filling(codec::filling_bytes(file.size())));
        const auto entry = codec::SeekTable::encode_entry(file.size() - begin, pieces[i].size(),
                                                          codec::frame_checksum(frame));
        append(entries, testing::View(entry).first(form.checksums ? 12 : 8));
    }
    Bytes head(8);
    testing::put_le(head.data(), 4, 0x184d2a5e);
    testing::put_le(&head[4], 4, entries.size() + 9);
    auto footer = codec::SeekTable::encode_footer(pieces.size());
    if (!form.checksums) footer[4] = std::byte{0};
    append(file, head);
    append(file, entries);
    append(file, footer);
    return file;
}

void check(const Bytes& file, bool is_canonical) {
    io::FileSystem fs;
    CHECK(verify::canonical_by_headers(fs, testing::memory_file(file), {3, nullptr, {}}) ==
          (is_canonical ? verify::Canonical::yes : verify::Canonical::no));
    const auto survey = testing::survey_of(file);
    CHECK(survey.deviation.empty() == is_canonical);
    CHECK(survey.digest.to_hex() == testing::content_digest(canonical_archive()));
}

}  // namespace

TEST_CASE("a zstd archive is canonical in one form only") {
    const auto archive = canonical_archive();
    const auto pieces = pieces_of(archive);
    REQUIRE(stored(pieces, {}) == testing::reference_zstd(archive, 3));
    check(stored(pieces, {}), true);
    check(stored(pieces, {.fillings = false}), false);
    check(stored(pieces, {.checksums = false}), false);

    const auto changed = [&](const std::function<void(std::vector<Bytes>&)>& change) {
        auto other = pieces;
        change(other);
        check(stored(other, {}), false);
    };
    // The header; the regions 0 and 1; 2; 3; 4 and 5; 6; 7; 8; 9; the rest of the group; …
    REQUIRE(pieces[1].size() == 1024);
    REQUIRE(pieces[6].size() == 512);
    REQUIRE(pieces[7].size() == 512);
    changed([](auto& list) {  // a frame for each region
        list.insert(list.begin() + 1, Bytes(list[1].begin(), list[1].begin() + 512));
        list[2].erase(list[2].begin(), list[2].begin() + 512);
    });
    changed([](auto& list) {  // over the border of a group
        list[6].insert(list[6].end(), list[7].begin(), list[7].end());
        list.erase(list.begin() + 7);
    });
    changed([](auto& list) {  // a region with payload and one without
        list[2].insert(list[2].begin(), list[1].begin(), list[1].end());
        list.erase(list.begin() + 1);
    });
    changed([](auto& list) { list.pop_back(); });  // what fills the device up
    changed([](auto& list) { list.push_back(Bytes()); });
}

TEST_CASE("a raw archive is canonical with all its extents only") {
    const auto archive = canonical_archive();
    check(archive, true);
    auto parts = testing::ArchiveParts(archive);
    parts.extents.pop_back();
    check(parts.join(), false);
    parts = testing::ArchiveParts(archive);
    parts.extents.push_back(parts.extents.back());
    check(parts.join(), false);
    parts = testing::ArchiveParts(archive);
    std::swap(parts.extents[8], parts.extents[9]);
    check(parts.join(), false);
}
