// The proof must notice whatever the engine could get wrong: mistakes are planted into it here.
#include "verify/proof.hpp"

#include <doctest/doctest.h>

#include "engine/assembler.hpp"
#include "engine/engine_run.hpp"
#include "support/dump.hpp"
#include "support/memory_file.hpp"
#include "support/reference.hpp"

using namespace vmad;
using engine::AssembledExtent;

namespace {

testing::Bytes archive() {
    testing::Content dense;
    dense.zero_fraction = 0;
    return testing::dump(
        testing::plausible_guest({{"drive-scsi0", 9 << 20, dense}, {"drive-efidisk0", 540672, dense}}));
}

/// Repacks with the mistake and proves the result.
void repack_wrongly(const std::function<void(AssembledExtent&)>& spoil) {
    io::FileSystem fs;
    const auto copy = testing::memory_file();
    engine::RepackOptions options;
    options.spoil = spoil;
    const auto result = testing::run_engine(fs, testing::memory_file(archive()), copy, options);
    verify::prove(fs, copy, codec::ArchiveKind::raw, result.fingerprint, options.task);
}

}  // namespace

TEST_CASE("without a mistake the proof succeeds") {
    CHECK_NOTHROW(repack_wrongly([](AssembledExtent&) {}));
}

TEST_CASE("planted mistakes fail the proof") {
    SUBCASE("two clusters swapped") {
        CHECK_THROWS_AS(repack_wrongly([](AssembledExtent& extent) {
                            if (extent.number == 1) std::swap(extent.clusters[3], extent.clusters[40]);
                        }),
                        verify::ProofError);
    }
    SUBCASE("a block dropped, with its mask bit") {
        CHECK_THROWS_AS(repack_wrongly([](AssembledExtent& extent) {
                            auto& cluster = extent.clusters[0];
                            if (extent.number == 1)
                                cluster.mask = static_cast<std::uint16_t>(cluster.mask & 0x7fff);
                        }),
                        verify::ProofError);
    }
    SUBCASE("the first mask bit lost, so that all blocks of the cluster move by one") {
        CHECK_THROWS_AS(repack_wrongly([](AssembledExtent& extent) {
                            auto& cluster = extent.clusters[7];
                            if (extent.number == 2)
                                cluster.mask = static_cast<std::uint16_t>(cluster.mask & 0xfffe);
                        }),
                        verify::ProofError);
    }
    SUBCASE("a cluster taken from a wrong offset") {
        CHECK_THROWS_AS(repack_wrongly([](AssembledExtent& extent) {
                            if (extent.number == 1) extent.clusters[5].blocks = extent.clusters[6].blocks;
                        }),
                        verify::ProofError);
    }
    SUBCASE("a whole cluster taken for zero") {
        CHECK_THROWS_AS(repack_wrongly([](AssembledExtent& extent) {
                            if (extent.number == 0) extent.clusters[1].mask = 0;
                        }),
                        verify::ProofError);
    }
    SUBCASE("an extent that thinks it belongs elsewhere") {
        CHECK_THROWS_AS(repack_wrongly([](AssembledExtent& extent) {
                            if (extent.number == 1) extent.plan.first_cluster += 1;
                        }),
                        verify::ProofError);
    }
    SUBCASE("another device's id") {
        CHECK_THROWS_AS(repack_wrongly([](AssembledExtent& extent) {
                            if (extent.number == 1) extent.plan.device_id = 58;
                        }),
                        verify::ProofError);
    }
}

TEST_CASE("any flipped bit of the copy fails the proof") {
    io::FileSystem fs;
    const auto copy = testing::memory_file();
    const auto result = testing::run_engine(fs, testing::memory_file(archive()), copy, {});
    const auto good = testing::content_of(copy);
    for (std::size_t at = 0; at < good.size(); at += 100003) {
        auto bad = good;
        bad[at] ^= std::byte{0x10};
        CHECK_THROWS_AS(
            verify::prove(fs, testing::memory_file(bad), codec::ArchiveKind::raw, result.fingerprint, {}),
            verify::ProofError);
    }
    CHECK_THROWS_AS(verify::prove(fs, testing::memory_file(testing::View(good).first(good.size() - 1)),
                                  codec::ArchiveKind::raw, result.fingerprint, {}),
                    verify::ProofError);
}

TEST_CASE("a valid archive that is not canonical, or holds something else, is no proof") {
    io::FileSystem fs;
    const auto source = archive();
    const auto survey = testing::survey_of(source);
    const verify::Fingerprint fingerprint{survey.digest, survey.header.configs, survey.header.ctime};
    CHECK(survey.digest.to_hex() == testing::content_digest(source));
    CHECK(survey.departure == "at byte 0: the header is not canonical");
    CHECK_THROWS_WITH_AS(
        verify::prove(fs, testing::memory_file(source), codec::ArchiveKind::raw, fingerprint, {}),
        "the copy is not canonical: at byte 0: the header is not canonical", verify::ProofError);
    const auto canonical = testing::memory_file(testing::reference_repack(source));
    CHECK_NOTHROW(verify::prove(fs, canonical, codec::ArchiveKind::raw, fingerprint, {}));
    auto other = fingerprint;
    other.ctime += 1;
    CHECK_THROWS_AS(verify::prove(fs, canonical, codec::ArchiveKind::raw, other, {}), verify::ProofError);
    other = fingerprint;
    other.configs[0].data += "#";
    CHECK_THROWS_AS(verify::prove(fs, canonical, codec::ArchiveKind::raw, other, {}), verify::ProofError);
}

namespace {

/// The canonical .vma.zst of the archive above.
testing::Bytes canonical_zstd(verify::Fingerprint* fingerprint = nullptr) {
    io::FileSystem fs;
    const auto copy = testing::memory_file();
    engine::RepackOptions options;
    options.kind = codec::ArchiveKind::zstd;
    const auto result = testing::run_engine(fs, testing::memory_file(archive()), copy, options);
    if (fingerprint != nullptr) *fingerprint = result.fingerprint;
    return testing::content_of(copy);
}

/// What direct reads give is not what memory holds.
class BadDevice final : public io::FileSystem {
  public:
    explicit BadDevice(testing::Bytes content) : content_(std::move(content)) {}
    std::optional<io::File> reopen_direct(const io::File&) override { return testing::memory_file(content_); }

  private:
    testing::Bytes content_;
};

}  // namespace

TEST_CASE("a compressed copy is proven as the device holds it, its seek table too") {
    verify::Fingerprint expected;
    const auto good = canonical_zstd(&expected);
    const auto prove = [&](const testing::Bytes& on_device) {
        BadDevice fs(on_device);
        verify::prove(fs, testing::memory_file(good), codec::ArchiveKind::zstd, expected, {});
    };
    CHECK_NOTHROW(prove(good));
    // All of the table, some of the frames.
    const auto table_bytes = (testing::survey_of(good).extent_count + 1) * 8 + 17;
    for (std::size_t back = 1; back < good.size(); back += back <= table_bytes ? 1 : 100003) {
        CAPTURE(back);
        auto bad = good;
        bad[bad.size() - back] ^= std::byte{1};
        CHECK_THROWS_AS(prove(bad), verify::ProofError);
    }
}

TEST_CASE("a canonical zstd stream is known as such without seeking; one with other frames in it is not") {
    const auto good = canonical_zstd();
    CHECK(testing::survey_of(good).departure == "");
    io::FileSystem fs;
    const auto table = codec::read_seek_table(fs, testing::memory_file(good)).table;
    REQUIRE(table);
    const auto frames_end = table->frames.back().stored_offset + table->frames.back().stored_bytes;
    const testing::Bytes skippable{std::byte{0x50}, std::byte{0x2a}, std::byte{0x4d}, std::byte{0x18},
                                   std::byte{0},    std::byte{0},    std::byte{0},    std::byte{0}};
    const auto insert = [&](std::size_t at) {
        auto bytes = good;
        bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(at), skippable.begin(), skippable.end());
        return bytes;
    };
    const std::string reason = "it does not end in a seek table of its frames";
    CHECK(testing::survey_of(insert(0)).departure == reason);
    CHECK(testing::survey_of(insert(frames_end)).departure == reason);
    CHECK(testing::survey_of(insert(good.size())).departure == reason);
    CHECK(testing::survey_of(testing::View(good).first(frames_end)).departure == reason);

    // Listed in the table, as the format allows.
    codec::SeekTable listed;
    listed.add(static_cast<std::uint32_t>(skippable.size()), 0);
    for (const auto& frame : table->frames) listed.add(frame.stored_bytes, frame.bytes);
    auto bytes = insert(0);
    bytes.resize(skippable.size() + frames_end);
    const auto end = listed.encode();
    bytes.insert(bytes.end(), end.begin(), end.end());
    const auto file = testing::memory_file(bytes);
    for (const unsigned threads : {1, 3}) {
        auto source = codec::ArchiveSource::of_file(fs, file, io::CacheUse::keep, {threads, nullptr});
        const auto survey = verify::survey(source, {});
        CHECK(survey.departure == reason);
        CHECK(survey.notice == "");
    }
}
