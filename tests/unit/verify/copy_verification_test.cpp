// Verification must notice whatever the engine could get wrong: mistakes are planted into its result here.
#include "verify/copy_verification.hpp"

#include <functional>

#include <doctest/doctest.h>

#include "engine/engine_run.hpp"
#include "support/archive_parts.hpp"
#include "support/dump.hpp"
#include "support/frame_table.hpp"
#include "support/memory_file.hpp"
#include "support/reference.hpp"

using namespace vmad;

namespace {

testing::Bytes archive() {
    testing::Content dense;
    dense.zero_fraction = 0;
    return testing::dump(
        testing::plausible_guest({{"drive-scsi0", 9 << 20, dense}, {"drive-efidisk0", 540672, dense}}));
}

/// Repacks, makes the mistake in the result, with all checksums right, and verifies that.
void repack_wrongly(const std::function<void(testing::ArchiveParts&)>& spoil) {
    io::FileSystem fs;
    const auto copy = testing::memory_file();
    const auto result = testing::run_engine(fs, testing::memory_file(archive()), copy, {});
    testing::ArchiveParts parts(testing::content_of(copy));
    spoil(parts);
    testing::verify_copy(fs, testing::memory_file(parts.join()), codec::ArchiveFormat::raw,
                         result.fingerprint, {});
}

/// The blocks of a cluster in an extent that stores every block.
std::span<std::byte> cluster(testing::ArchiveParts& parts, std::size_t extent, std::size_t slot) {
    return std::span(parts.extents[extent].data)
        .subspan(slot * testing::kClusterBytes, testing::kClusterBytes);
}

/// Takes block `block` of the cluster out, and the mask bit `bit`.
void drop_block(testing::ArchiveParts& parts, std::size_t extent, std::size_t slot, unsigned block,
                unsigned bit) {
    auto& data = parts.extents[extent].data;
    const auto begin = data.begin() + static_cast<std::ptrdiff_t>(slot * testing::kClusterBytes +
                                                                  block * testing::kBlockBytes);
    data.erase(begin, begin + testing::kBlockBytes);
    auto changed = parts.slot(extent, slot);
    changed.mask = static_cast<std::uint16_t>(changed.mask & ~(1U << bit));
    parts.set_slot(extent, slot, changed);
    testing::put_be(&parts.extents[extent].head[testing::extent_at::kBlockCount], 2,
                    data.size() / testing::kBlockBytes);
}

}  // namespace

TEST_CASE("without a mistake the verification succeeds") {
    CHECK_NOTHROW(repack_wrongly([](testing::ArchiveParts&) {}));
}

TEST_CASE("planted mistakes fail the verification") {
    const auto fails = [](const std::function<void(testing::ArchiveParts&)>& spoil) {
        CHECK_THROWS_AS(repack_wrongly(spoil), verify::VerificationError);
    };
    SUBCASE("two clusters swapped") {
        fails([](auto& parts) {
            const auto one = cluster(parts, 1, 3);
            std::swap_ranges(one.begin(), one.end(), cluster(parts, 1, 20).begin());
        });
    }
    SUBCASE("a block dropped, with its mask bit") {
        fails([](auto& parts) { drop_block(parts, 1, 0, 15, 15); });
    }
    SUBCASE("the first mask bit lost, so that all blocks of the cluster move by one") {
        fails([](auto& parts) { drop_block(parts, 2, 7, 15, 0); });
    }
    SUBCASE("a cluster taken from a wrong offset") {
        fails([](auto& parts) {
            const auto from = cluster(parts, 1, 6);
            std::copy(from.begin(), from.end(), cluster(parts, 1, 5).begin());
        });
    }
    SUBCASE("a whole cluster taken for zero") {
        fails([](auto& parts) {
            for (unsigned bit = 0; bit < 16; ++bit) drop_block(parts, 0, 1, 0, bit);
        });
    }
    SUBCASE("an extent that thinks it belongs elsewhere") {
        fails([](auto& parts) {
            for (std::size_t i = 0; i < testing::kSlotsPerExtent; ++i) {
                auto slot = parts.slot(1, i);
                if (slot.device != 0) ++slot.cluster;
                parts.set_slot(1, i, slot);
            }
        });
    }
    SUBCASE("another device's id") {
        fails([](auto& parts) {
            auto slot = parts.slot(1, 0);
            slot.device = 58;
            parts.set_slot(1, 0, slot);
        });
    }
}

TEST_CASE("any flipped bit of the copy fails the verification") {
    io::FileSystem fs;
    const auto copy = testing::memory_file();
    const auto result = testing::run_engine(fs, testing::memory_file(archive()), copy, {});
    const auto good = testing::content_of(copy);
    for (std::size_t at = 0; at < good.size(); at += 100003) {
        auto bad = good;
        bad[at] ^= std::byte{0x10};
        CHECK_THROWS_AS(testing::verify_copy(fs, testing::memory_file(bad), codec::ArchiveFormat::raw,
                                             result.fingerprint, {}),
                        verify::VerificationError);
    }
    CHECK_THROWS_AS(testing::verify_copy(fs, testing::memory_file(testing::View(good).first(good.size() - 1)),
                                         codec::ArchiveFormat::raw, result.fingerprint, {}),
                    verify::VerificationError);
}

TEST_CASE("a valid archive that is not canonical, or holds something else, does not verify") {
    io::FileSystem fs;
    const auto source = archive();
    const auto survey = testing::survey_of(source);
    const verify::Fingerprint fingerprint{survey.digest, survey.device_digests, survey.header.configs,
                                          survey.header.ctime};
    CHECK(survey.digest.to_hex() == testing::content_digest(source));
    CHECK(survey.deviation == "at byte 0: the header is not canonical");
    CHECK_THROWS_WITH_AS(
        testing::verify_copy(fs, testing::memory_file(source), codec::ArchiveFormat::raw, fingerprint, {}),
        "the copy is not canonical: at byte 0: the header is not canonical", verify::VerificationError);
    const auto canonical = testing::memory_file(testing::reference_repack(source));
    CHECK_NOTHROW(testing::verify_copy(fs, canonical, codec::ArchiveFormat::raw, fingerprint, {}));
    auto other = fingerprint;
    other.ctime += 1;
    CHECK_THROWS_AS(testing::verify_copy(fs, canonical, codec::ArchiveFormat::raw, other, {}),
                    verify::VerificationError);
    other = fingerprint;
    other.configs[0].data += "#";
    CHECK_THROWS_AS(testing::verify_copy(fs, canonical, codec::ArchiveFormat::raw, other, {}),
                    verify::VerificationError);
}

namespace {

/// The canonical .vma.zst of the archive above.
testing::Bytes canonical_zstd(verify::Fingerprint* fingerprint = nullptr) {
    io::FileSystem fs;
    const auto copy = testing::memory_file();
    engine::RepackOptions options;
    options.format = codec::ArchiveFormat::zstd;
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

TEST_CASE("a compressed copy is verified as the device holds it, its seek table too") {
    verify::Fingerprint expected;
    const auto good = canonical_zstd(&expected);
    const auto verify_bytes = [&](const testing::Bytes& on_device) {
        BadDevice fs(on_device);
        testing::verify_copy(fs, testing::memory_file(good), codec::ArchiveFormat::zstd, expected, {});
    };
    CHECK_NOTHROW(verify_bytes(good));
    io::FileSystem fs;
    const auto good_file = testing::memory_file(good);
    const auto frames = codec::read_seek_table(fs, good_file).table.value().size();
    // All of the table, some of the frames.
    const auto table_bytes = frames * 12 + 17;
    for (std::size_t back = 1; back < good.size(); back += back <= table_bytes ? 1 : 100003) {
        CAPTURE(back);
        auto bad = good;
        bad[bad.size() - back] ^= std::byte{1};
        CHECK_THROWS_AS(verify_bytes(bad), verify::VerificationError);
    }
}

TEST_CASE("a canonical zstd stream is known as such without seeking; one with other frames in it is not") {
    const auto good = canonical_zstd();
    CHECK(testing::survey_of(good).deviation == "");
    io::FileSystem fs;
    const auto good_file = testing::memory_file(good);
    auto found = codec::read_seek_table(fs, good_file).table;
    REQUIRE(found);
    const auto frames_end = found->stored_bytes();
    const auto table = testing::FrameTable::read(std::move(*found));
    const testing::Bytes skippable{std::byte{0x50}, std::byte{0x2a}, std::byte{0x4d}, std::byte{0x18},
                                   std::byte{0},    std::byte{0},    std::byte{0},    std::byte{0}};
    const auto insert = [&](std::size_t at) {
        auto bytes = good;
        bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(at), skippable.begin(), skippable.end());
        return bytes;
    };
    const std::string reason = "its fillings or its seek table are not those of its frames";
    CHECK(testing::survey_of(insert(0)).deviation == reason);
    CHECK(testing::survey_of(insert(frames_end)).deviation == reason);
    CHECK(testing::survey_of(insert(good.size())).deviation == reason);
    CHECK(testing::survey_of(testing::View(good).first(frames_end)).deviation == reason);

    // Listed in the table, as the format allows.
    testing::FrameTable listed;
    listed.add(static_cast<std::uint32_t>(skippable.size()), 0);
    for (const auto& frame : table.frames) listed.add(frame.stored_bytes, frame.bytes);
    auto bytes = insert(0);
    bytes.resize(skippable.size() + frames_end);
    const auto end = listed.encode();
    bytes.insert(bytes.end(), end.begin(), end.end());
    const auto file = testing::memory_file(bytes);
    for (const unsigned threads : {1, 3}) {
        auto source = codec::ArchiveSource::of_file(fs, file, io::CacheUse::keep, {threads, nullptr});
        const auto survey = verify::survey(source, {});
        CHECK(survey.deviation == reason);
        CHECK(survey.warning == "");
    }
}

namespace {

/// Writes `stored` in steps to a file, verified behind the writer as it grows.
void write_and_verify(testing::View stored, std::size_t step, codec::ArchiveFormat format,
                      const verify::Fingerprint& expected, const base::TaskOptions& options = {}) {
    io::FileSystem fs;
    const auto file = testing::memory_file();
    verify::CopyVerification verification(fs, file, format, options, verify::ReadBack::behind_writer);
    for (std::size_t at = 0; at < stored.size(); at += step) {
        const auto piece = stored.subspan(at, std::min(step, stored.size() - at));
        iovec slice = io::const_slice(piece);
        io::write_fully_at(fs, file, {&slice, 1}, at);
        if (at + step < stored.size()) verification.written(at + step);
    }
    verification.finish(expected);
}

}  // namespace

TEST_CASE("law: behind the writer a copy is verified as afterwards, however it grows") {
    io::FileSystem fs;
    verify::Fingerprint fingerprint;
    const auto zstd = canonical_zstd(&fingerprint);
    const auto raw = testing::reference_repack(archive());
    for (const std::size_t step :
         {std::size_t{3} << 20, (std::size_t{5} << 20) + 512, std::size_t{64} << 20}) {
        CAPTURE(step);
        for (const unsigned threads : {1U, 3U}) {
            base::TaskOptions options;
            options.threads = threads;
            CHECK_NOTHROW(write_and_verify(raw, step, codec::ArchiveFormat::raw, fingerprint, options));
            CHECK_NOTHROW(write_and_verify(zstd, step, codec::ArchiveFormat::zstd, fingerprint, options));
        }
        CHECK_THROWS_AS(write_and_verify(raw, step, codec::ArchiveFormat::zstd, fingerprint),
                        verify::VerificationError);
        auto other = fingerprint;
        other.ctime += 1;
        CHECK_THROWS_AS(write_and_verify(raw, step, codec::ArchiveFormat::raw, other),
                        verify::VerificationError);
    }
}

TEST_CASE("any flipped bit fails the verification behind the writer, wherever the writer is") {
    verify::Fingerprint fingerprint;
    (void)canonical_zstd(&fingerprint);
    const auto good = testing::reference_repack(archive());
    for (std::size_t at = 0; at < good.size(); at += 500009) {
        auto bad = good;
        bad[at] ^= std::byte{0x10};
        CHECK_THROWS_AS(write_and_verify(bad, 1 << 20, codec::ArchiveFormat::raw, fingerprint),
                        verify::VerificationError);
    }
    CHECK_THROWS_AS(write_and_verify(testing::View(good).first(good.size() - 1), 1 << 20,
                                     codec::ArchiveFormat::raw, fingerprint),
                    verify::VerificationError);
}

TEST_CASE("a verification behind the writer that is abandoned ends at once") {
    io::FileSystem fs;
    const auto good = testing::reference_repack(archive());
    for (const std::size_t written : {std::size_t{0}, std::size_t{5} << 20}) {
        const auto file = testing::memory_file();
        verify::CopyVerification verification(fs, file, codec::ArchiveFormat::raw, {},
                                              verify::ReadBack::behind_writer);
        iovec slice = io::const_slice(testing::View(good).first(written));
        io::write_fully_at(fs, file, {&slice, 1}, 0);
        if (written > 0) verification.written(written);
    }
}
