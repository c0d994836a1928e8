// Damage at any place of a published archive is found, and the place is named.
#include "verify/archive_look.hpp"

#include <sys/stat.h>

#include <cerrno>
#include <set>

#include <doctest/doctest.h>

#include "engine/engine_run.hpp"
#include "publish/file_identity.hpp"
#include "support/dump.hpp"
#include "support/random.hpp"

using namespace vmad;
using testing::ArchiveFormat;
using verify::DamagedStretch;

namespace {

constexpr std::uint64_t kRegion = canon::kRegionBytes;

/// A piece of the stored file, and what is damaged when a bit of it flips.
struct StoredPart {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    std::vector<DamagedStretch> stretches{};
};

testing::Guest some_guest() {
    testing::Content sparse{.seed = 3, .zero_fraction = 0.8, .run_blocks = 600};
    return testing::plausible_guest({{"drive-efidisk0", 540672, {}},
                                     {"drive-scsi0", kRegion + 12288, {}},
                                     {"drive-scsi1", 12 * kRegion, sparse}});
}

engine::RepackOptions repack_to(ArchiveFormat format) {
    engine::RepackOptions options;
    options.format = format;
    return options;
}

/// As vmad has published it.
struct Published {
    io::FileSystem fs;
    ArchiveFormat format;
    engine::RepackResult result;
    testing::Bytes bytes;
    std::vector<access::DiskChecksums> checksums;  ///< of its regions
    std::vector<StoredPart> parts;

    explicit Published(ArchiveFormat as) : format(as) {
        const auto source = testing::memory_file(testing::dump(some_guest()));
        const auto copy = testing::memory_file();
        result = testing::run_engine(fs, source, copy, repack_to(format));
        bytes = testing::content_of(copy);
        const auto zstd = testing::memory_file();
        (void)testing::run_engine(fs, source, zstd, repack_to(ArchiveFormat::zstd));
        checksums = *access::read_region_checksums(fs, zstd, {});
        if (format != ArchiveFormat::lzo) find_parts(copy);
    }

    void find_parts(const io::File& file) {
        const auto header = *verify::canonical_header(fs, file, format);
        const canon::Layout layout(header);
        const auto found = access::search_extents(fs, file, format, layout, &checksums, {});
        CHECK(found.missing.empty());
        CHECK(found.sum.finish() == result.fingerprint.digest);
        for (const auto& extents : found.whole) {
            StoredPart part{extents.stored_offset, extents.stored_offset + extents.stored_bytes};
            const auto plan = layout.plan(extents.number);
            const auto offset = plan.first_cluster * std::uint64_t{vma::kClusterSize};
            if (extents.bytes > 4096)
                part.stretches = {{header.device(plan.device_id)->name, offset,
                                   std::min(kRegion, plan.device_size_bytes - offset)}};
            parts.push_back(part);
        }
    }

    [[nodiscard]] verify::LookOptions options(const io::File& file, bool with_checksums) const {
        const auto status = io::FileSystem().status(file);
        verify::LookOptions options;
        options.task.threads = 2;
        verify::PublishedDigest digest{result.fingerprint.digest.to_hex(), {}};
        for (const auto& [name, device] : result.fingerprint.devices)
            digest.devices[name] = device.to_hex().substr(0, 16);
        options.recorded = {digest, static_cast<std::uint64_t>(status.st_size),
                            publish::nanoseconds(status.st_mtim)};
        if (with_checksums)
            options.expected = [this](const io::File& archive) {
                if (format == ArchiveFormat::zstd) return access::read_region_checksums(io_, archive, {});
                return std::optional(checksums);
            };
        return options;
    }
    [[nodiscard]] verify::ArchiveLook look(const testing::Bytes& stored, bool with_checksums = true) {
        const auto file = testing::memory_file(stored);
        auto look = verify::look_at_archive(fs, file, options(file, with_checksums));
        CHECK_FALSE(look.changed);
        return look;
    }
    [[nodiscard]] testing::Bytes with_flip(std::uint64_t at) const {
        auto damaged = bytes;
        damaged[at] ^= std::byte{0x20};
        return damaged;
    }
    mutable io::FileSystem io_;
};

std::string rule_of(const verify::ArchiveLook& look) {
    try {
        if (look.fault) std::rethrow_exception(look.fault);
    } catch (const base::InvalidArchive& error) {
        return error.rule();
    }
    return "";
}

}  // namespace

namespace vmad::verify {

doctest::String toString(const std::vector<DamagedStretch>& stretches) {
    std::string text;
    for (const auto& [disk, offset, bytes, somewhere] : stretches)
        text += disk + "@" + std::to_string(offset) + "+" + std::to_string(bytes) + (somewhere ? "? " : " ");
    return text.c_str();
}

}  // namespace vmad::verify

TEST_CASE("an archive as it was published is good, in every format") {
    for (const auto format : testing::kAllFormats) {
        Published archive(format);
        const auto look = archive.look(archive.bytes);
        CHECK_FALSE(look.fault);
        REQUIRE(look.survey);
        CHECK(look.survey->digest == archive.result.fingerprint.digest);
        CHECK(look.digest_origin == verify::DigestOrigin::record);
        CHECK(look.damage.stretches.empty());
    }
}

TEST_CASE("a bit that flips anywhere is found, and its region is named") {
    testing::Random random(7);
    for (const auto format : {ArchiveFormat::raw, ArchiveFormat::zstd, ArchiveFormat::gzip}) {
        Published archive(format);
        for (const auto& part : archive.parts)
            for (const auto at :
                 {part.begin, part.begin + 30 + random.below(part.end - part.begin - 30), part.end - 1}) {
                CAPTURE(archive.format);
                CAPTURE(at);
                const auto look = archive.look(archive.with_flip(at));
                CHECK(look.damage.stretches == part.stretches);
                // Some bits of a frame mean nothing.
                if (!look.fault) CHECK(part.stretches.empty());
                if (!look.fault) continue;
                if (part.stretches.empty()) CHECK(look.damage.note.starts_with("no content is damaged"));
            }
    }
}

TEST_CASE("damage at several places is named as a whole, whatever else is damaged") {
    testing::Random random(8);
    for (const auto format : {ArchiveFormat::raw, ArchiveFormat::zstd, ArchiveFormat::gzip}) {
        Published archive(format);
        for (int round = 0; round < 12; ++round) {
            auto damaged = archive.bytes;
            std::vector<DamagedStretch> expected;
            for (const auto& part : archive.parts) {
                if (random.chance(0.6) || part.stretches.empty()) continue;
                for (int flip = 0; flip < 5; ++flip)
                    damaged[part.begin + random.below(part.end - part.begin)] ^= std::byte{0x42};
                damaged[part.begin + 2] ^= std::byte{0x10};
                const auto& stretch = part.stretches.front();
                if (!expected.empty() && expected.back().disk == stretch.disk &&
                    expected.back().offset + expected.back().bytes == stretch.offset)
                    expected.back().bytes += stretch.bytes;
                else
                    expected.push_back(stretch);
            }
            if (expected.empty()) continue;
            CAPTURE(format);
            CAPTURE(round);
            CHECK(archive.look(damaged).damage.stretches == expected);
        }
    }
}

TEST_CASE("a damaged header, seek table or filling is not taken for a damaged disk") {
    Published archive(ArchiveFormat::zstd);
    const auto header = archive.look(archive.with_flip(40)).damage;
    CHECK(header.stretches == std::vector<DamagedStretch>{{"", 0, 0}});
    for (auto at = archive.parts.back().end; at < archive.bytes.size(); at += 5) {
        CAPTURE(at);
        const auto look = archive.look(archive.with_flip(at));
        CHECK(look.fault);
        CHECK(look.damage.stretches.empty());
        CHECK(look.damage.note.starts_with("no content is damaged"));
    }
    const auto filling = archive.look(archive.with_flip(archive.parts[1].begin - 90));
    CHECK(rule_of(filling) == "published-form");
    CHECK(filling.damage.note.starts_with("no content is damaged"));
}

TEST_CASE("without checksums of its regions the disk of a raw archive is named") {
    Published archive(ArchiveFormat::raw);
    for (const auto& part : archive.parts) {
        if (part.stretches.empty()) continue;
        const auto look = archive.look(archive.with_flip(part.begin + 700), false);
        CHECK(rule_of(look) == "content-digest");
        REQUIRE(look.damage.stretches.size() == 1);
        CHECK(look.damage.stretches.front().is_somewhere);
        CHECK(look.damage.stretches.front().disk == part.stretches.front().disk);
        // Its header has a checksum.
        CHECK(archive.look(archive.with_flip(part.begin + 50), false).damage.stretches == part.stretches);
    }
}

TEST_CASE("an .lzo is named up to its first fault") {
    Published archive(ArchiveFormat::lzo);
    const auto look = archive.look(archive.with_flip(archive.bytes.size() / 2));
    CHECK(look.fault);
    CHECK(look.damage.stretches.size() == 1);
    CHECK(look.damage.note.find("first fault only") != std::string::npos);
}

TEST_CASE("an archive that is cut off lacks what was behind the cut") {
    Published archive(ArchiveFormat::zstd);
    const auto& part = archive.parts[archive.parts.size() / 2];
    auto cut = archive.bytes;
    cut.resize(part.begin + 100);
    const auto look = archive.look(cut, false);
    CHECK(look.fault);
    std::uint64_t bytes = 0;
    for (const auto& stretch : look.damage.stretches) bytes += stretch.bytes;
    CHECK(bytes >= kRegion);
}

namespace {

/// Pages of a file cannot be read, or its attribute says what it is told to.
class Quirks final : public io::FileSystem {
  public:
    std::set<std::uint64_t> bad_pages;
    std::string attribute_text;
    std::function<void()> on_read;

    std::optional<io::File> reopen_direct(const io::File&) override { return std::nullopt; }
    std::size_t read_at(const io::File& file, std::span<const iovec> into, std::uint64_t offset) override {
        std::uint64_t bytes = 0;
        for (const auto& slice : into) bytes += slice.iov_len;
        const auto bad = bad_pages.lower_bound(offset / 4096);
        if (bad != bad_pages.end() && *bad * 4096 < offset + bytes)
            throw base::SystemError(EIO, "read", file.path());
        if (on_read) on_read();
        return FileSystem::read_at(file, into, offset);
    }
    std::optional<std::string> attribute(const io::File&, const std::string&) override {
        return attribute_text.empty() ? std::nullopt : std::optional(attribute_text);
    }
};

std::string attribute_of(const verify::Fingerprint& fingerprint, const io::File& file) {
    const auto status = io::FileSystem().status(file);
    return verify::published_digest_attribute(fingerprint, static_cast<std::uint64_t>(status.st_size),
                                              status.st_mtim)
        .begin()
        ->second;
}

}  // namespace

TEST_CASE("blocks that cannot be read are damage, and what stands behind them is read") {
    Published archive(ArchiveFormat::zstd);
    const auto file = testing::memory_file(archive.bytes);
    Quirks fs;
    std::vector<DamagedStretch> expected;
    for (const auto& part : archive.parts)
        if (part.end - part.begin > 40000 && fs.bad_pages.size() < 2) {
            fs.bad_pages.insert((part.begin + 20000) / 4096);
            if (!expected.empty() &&
                expected.back().offset + expected.back().bytes == part.stretches.front().offset)
                expected.back().bytes += part.stretches.front().bytes;
            else
                expected.push_back(part.stretches.front());
        }
    const auto look = verify::look_at_archive(fs, file, archive.options(file, true));
    CHECK(look.fault);
    CHECK(look.damage.stretches == expected);
}

TEST_CASE("the attribute goes before the record, and a disagreement is reported") {
    Published archive(ArchiveFormat::zstd);
    const auto file = testing::memory_file(archive.bytes);
    auto other = archive.result.fingerprint;
    other.digest.bytes[3] ^= std::byte{1};
    Quirks fs;
    fs.attribute_text = attribute_of(archive.result.fingerprint, file);
    auto options = archive.options(file, true);
    auto look = verify::look_at_archive(fs, file, options);
    CHECK(look.digest_origin == verify::DigestOrigin::attribute);
    CHECK_FALSE(look.fault);
    CHECK(look.warning.empty());

    // The record is wrong: the archive is good all the same.
    options.recorded->published.digest = other.digest.to_hex();
    look = verify::look_at_archive(fs, file, options);
    CHECK_FALSE(look.fault);
    CHECK(look.warning.find("disagree") != std::string::npos);

    // The attribute is wrong.
    options = archive.options(file, true);
    fs.attribute_text = attribute_of(other, file);
    look = verify::look_at_archive(fs, file, options);
    CHECK(rule_of(look) == "content-digest");
    CHECK(look.warning.find("disagree") != std::string::npos);

    // An attribute of another time, and a record of another size, say nothing.
    fs.attribute_text = verify::published_digest_attribute(other, 1, {}).begin()->second;
    look = verify::look_at_archive(fs, file, options);
    CHECK(look.digest_origin == verify::DigestOrigin::record);
    CHECK_FALSE(look.fault);
    ++options.recorded->modified_ns;
    look = verify::look_at_archive(fs, file, options);
    CHECK(look.digest_origin == verify::DigestOrigin::none);
    CHECK_FALSE(look.fault);
}

TEST_CASE("an archive that is written to meanwhile is not judged") {
    Published archive(ArchiveFormat::raw);
    const auto file = testing::memory_file(archive.with_flip(archive.bytes.size() / 2));
    Quirks fs;
    fs.on_read = [&, done = false]() mutable {
        if (std::exchange(done, true)) return;
        const timespec times[2] = {{0, UTIME_OMIT}, {5, 5}};
        REQUIRE(::futimens(file.fd(), times) == 0);
    };
    const auto options = archive.options(file, true);
    CHECK(verify::look_at_archive(fs, file, options).changed);
}

TEST_CASE("a search for what follows a damaged place can be stopped") {
    for (const auto format : {ArchiveFormat::raw, ArchiveFormat::gzip}) {
        CAPTURE(format);
        Published archive(format);
        const auto whole = testing::memory_file(archive.bytes);
        const canon::Layout layout(*verify::canonical_header(archive.fs, whole, format));
        // Behind the header, which fits into this much, is nothing at all.
        testing::Bytes bytes(std::size_t{48} << 20);
        std::copy_n(archive.bytes.begin(), std::min(layout.header().size(), archive.bytes.size() / 2),
                    bytes.begin());
        base::CancelFlag stop;
        base::TaskOptions task;
        task.cancel = &stop;
        std::size_t reports = 0;
        task.progress = [&](const base::Progress&) {
            if (++reports == 4) stop.request();
        };
        CHECK_THROWS_AS((void)access::search_extents(archive.fs, testing::memory_file(bytes), format, layout,
                                                     nullptr, task),
                        base::Cancelled);
    }
}
