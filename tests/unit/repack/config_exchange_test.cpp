#include "repack/config_exchange.hpp"

#include <fcntl.h>

#include <doctest/doctest.h>

#include "io/byte_stream.hpp"
#include "support/dump.hpp"
#include "support/fault_file_system.hpp"
#include "support/memory_file.hpp"
#include "support/reference.hpp"
#include "support/temporary_directory.hpp"

using namespace vmad;
using codec::ArchiveFormat;
using testing::Bytes;

namespace {

using Configs = std::vector<vma::Config>;

engine::RepackOptions options_of(ArchiveFormat format, const Configs& configs) {
    engine::RepackOptions options;
    options.format = format;
    options.edit_configs = [configs](Configs) { return configs; };
    return options;
}

struct Result {
    Bytes archive;
    verify::Fingerprint fingerprint;
};

/// Nothing when the configs cannot be exchanged.
std::optional<Result> exchange(io::FileSystem& fs, const Bytes& archive, ArchiveFormat format,
                               const Configs& configs) {
    const auto file = testing::memory_file(archive);
    const auto copy = testing::memory_file();
    engine::OrderedWriter writer(fs, copy, {});
    auto result = repack::exchange_configs(fs, file, format, writer, options_of(format, configs));
    CHECK(io::FileSystem().status(copy).st_size == static_cast<off_t>(result ? result->result_bytes : 0));
    if (!result) return std::nullopt;
    return Result{testing::content_of(copy), result->fingerprint};
}

/// The same by a whole repack.
Result repacked(const Bytes& archive, ArchiveFormat format, const Configs& configs) {
    io::FileSystem fs;
    const auto file = testing::memory_file(archive);
    const auto copy = testing::memory_file();
    auto source = codec::ArchiveSource::of_file(fs, file, io::CacheUse::keep, {});
    engine::OrderedWriter writer(fs, copy, {});
    const auto result = engine::repack(fs, source, writer, options_of(format, configs));
    return {testing::content_of(copy), result.fingerprint};
}

Configs configs_of(const testing::Guest& guest) {
    Configs configs;
    for (const auto& [name, data] : guest.configs)
        configs.push_back({name, {reinterpret_cast<const char*>(data.data()), data.size()}});
    return configs;
}

/// What does not compress, so that the header's frame grows by pages.
std::string noise(std::size_t size) {
    std::string text(size, '\0');
    std::uint32_t state = 1;
    for (auto& c : text) c = static_cast<char>((state = state * 1664525 + 1013904223) >> 24);
    return text;
}

testing::Guest guest_with_empty_start() {
    // The last of these names comes first. Many of its groups are empty, and what follows is not.
    testing::Disk empty{.name = "drive-z", .size_bytes = 200 << 20};
    empty.content.zero_fraction = 1;
    return testing::plausible_guest({{"drive-scsi0", 5 << 20, {}}, empty});
}

testing::Guest guest_of_zeros() {
    testing::Disk empty{.name = "drive-scsi0", .size_bytes = 50 << 20};
    empty.content.zero_fraction = 1;
    return testing::plausible_guest({empty});
}

}  // namespace

TEST_CASE(
    "law: exchanged configs are repacked configs, byte for byte, with and without copies by the system") {
    std::vector<testing::Guest> guests{guest_with_empty_start(), guest_of_zeros(),
                                       testing::plausible_guest({})};
    for (std::uint64_t seed = 0; seed < 8; ++seed) guests.push_back(testing::random_guest(seed));
    unsigned number = 0;
    for (const auto& guest : guests) {
        CAPTURE(number);
        const auto old = configs_of(guest);
        std::vector<Configs> edits{{}, old, {{"x", noise(3000)}}};
        if (number < 3) {
            edits.push_back({{"x", noise(7000)}});
            edits.push_back({{"x", noise(65535)}, {"y", std::string(65535, 'y')}});
        }
        for (const auto format : {ArchiveFormat::raw, ArchiveFormat::zstd}) {
            const auto canonical = repacked(testing::dump(guest), format, old);
            for (const auto& configs : edits) {
                support::FaultFileSystem fs;
                fs.has_copy_range = ++number % 2 == 0;
                if (number % 4 == 0) fs.most_copied = number % 8 == 0 ? 0 : 50001;
                const auto result = exchange(fs, canonical.archive, format, configs);
                const auto expected = repacked(canonical.archive, format, configs);
                REQUIRE(result);
                CHECK(result->archive == expected.archive);
                CHECK(result->fingerprint == expected.fingerprint);
            }
        }
    }
}

TEST_CASE("what is not canonical, or of another format, takes a repack") {
    io::FileSystem fs;
    const auto dump = testing::dump(testing::random_guest(3));
    CHECK_FALSE(exchange(fs, dump, ArchiveFormat::raw, {}));
    CHECK_FALSE(exchange(fs, repacked(dump, ArchiveFormat::gzip, {}).archive, ArchiveFormat::gzip, {}));
    // The headers do not show a stored block that is all zero.
    auto canonical = repacked(testing::dump(testing::plausible_guest({{"drive-scsi0", 4096, {}}})),
                              ArchiveFormat::raw, {});
    std::fill(canonical.archive.begin() + 65536 + 512, canonical.archive.begin() + 65536 + 512 + 4096,
              std::byte{});
    CHECK_FALSE(exchange(fs, canonical.archive, ArchiveFormat::raw, {}));
}

TEST_CASE("whichever operation fails, there is no result; damage is an error") {
    const auto canonical = repacked(testing::dump(guest_with_empty_start()), ArchiveFormat::zstd, {});
    for (unsigned failing = 1;; ++failing) {
        support::FaultFileSystem fs;
        bool failed = false;
        fs.before = [&](const support::Call& call) {
            if (call.number != failing || call.operation == "advise") return;
            failed = true;
            support::FaultFileSystem::fail(EIO, call);
        };
        try {
            const auto result = exchange(fs, canonical.archive, ArchiveFormat::zstd, {});
            CHECK_FALSE(failed);
        } catch (const base::SystemError& error) {
            CHECK(failed);
            CHECK(error.number() == EIO);
        }
        if (!failed && fs.calls() < failing) break;
    }
    io::FileSystem fs;
    auto damaged = canonical.archive;
    damaged[damaged.size() / 2] ^= std::byte{1};
    CHECK_THROWS_AS((void)exchange(fs, damaged, ArchiveFormat::zstd, {}), base::InvalidArchive);
}

TEST_CASE("the regions stay as they are compressed") {
    auto options = options_of(ArchiveFormat::zstd, {});
    options.zstd_level = 19;
    io::FileSystem fs;
    const auto file = testing::memory_file(testing::dump(guest_with_empty_start()));
    const auto high = testing::memory_file();
    auto source = codec::ArchiveSource::of_file(fs, file, io::CacheUse::keep, {});
    engine::OrderedWriter writer(fs, high, {});
    (void)engine::repack(fs, source, writer, options);
    const auto before = testing::content_of(high);
    const auto after = exchange(fs, before, ArchiveFormat::zstd, {{"x", noise(7000)}});
    REQUIRE(after);
    // Behind the frames that move, and before the table.
    const std::span moved(before.begin() + 65536, before.end() - 4096);
    CHECK(std::equal(moved.begin(), moved.end(),
                     after->archive.end() - 4096 - static_cast<std::ptrdiff_t>(moved.size())));
}
