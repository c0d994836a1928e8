#include "repack/disk_stream.hpp"

#include <doctest/doctest.h>

#include "engine/engine_run.hpp"
#include "support/damage.hpp"
#include "support/dump.hpp"
#include "support/reference.hpp"

using namespace vmad;
using testing::Bytes;

namespace {

io::FileSystem& fs() {
    static io::FileSystem real;
    return real;
}

/// The disk, read from a file or from a stream.
Bytes stream_of(testing::View stored, const std::string& device, bool from_file) {
    testing::MemorySink sink;
    repack::DiskStreamOptions options;
    options.task.threads = 2;
    options.device = device;
    if (from_file) {
        const auto file = testing::memory_file(stored);
        auto source = codec::ArchiveSource::of_file(fs(), file, io::CacheUse::keep, {});
        repack::stream_disk(fs(), source, &file, sink, options);
    } else {
        testing::MemorySource stream(stored, false);
        auto source = codec::ArchiveSource::of_stream(stream, {});
        repack::stream_disk(fs(), source, nullptr, sink, options);
    }
    return std::move(sink.bytes);
}

}  // namespace

TEST_CASE("law: a streamed disk is what the guest had, whatever the archive is and wherever it comes from") {
    for (std::uint64_t seed = 1; seed <= 8; ++seed) {
        CAPTURE(seed);
        const auto guest = testing::random_guest(seed);
        const auto archive = testing::dump(guest, testing::random_dump_options(seed));
        std::vector<Bytes> forms;
        for (const auto format : testing::kAllFormats) forms.push_back(testing::stored_as(format, archive));
        forms.push_back(testing::reference_repack(archive));
        forms.push_back(testing::reference_zstd(forms.back(), 3));
        for (const auto& [name, bytes] : testing::contents_of(guest).disks)
            for (const auto& form : forms)
                for (const bool from_file : {false, true}) CHECK(stream_of(form, name, from_file) == bytes);
    }
}

TEST_CASE("the only disk needs no name, one of several does") {
    const auto one = testing::plausible_guest({{"drive-scsi0", 3 << 20, {}}});
    const auto two = testing::plausible_guest({{"drive-scsi0", 3 << 20, {}}, {"drive-ide2", 8192, {}}});
    const auto none = testing::plausible_guest({});
    for (const bool from_file : {false, true}) {
        CHECK(stream_of(testing::dump(one), "", from_file) ==
              testing::contents_of(one).disks.at("drive-scsi0"));
        CHECK(stream_of(testing::dump(two), "ide2", from_file).size() == 8192);
        CHECK_THROWS_WITH_AS(stream_of(testing::dump(two), "", from_file),
                             "the archive has several devices; name one of drive-ide2, drive-scsi0",
                             base::UsageError);
        CHECK_THROWS_WITH_AS(stream_of(testing::dump(one), "scsi1", from_file),
                             "the archive has no device scsi1; it has drive-scsi0", base::UsageError);
        CHECK_THROWS_WITH_AS(stream_of(testing::dump(none), "", from_file),
                             "the archive has no device; it has none", base::UsageError);
    }
}

TEST_CASE("every damage ends the stream with an error") {
    for (const auto& damage : testing::damages()) {
        CAPTURE(damage.id);
        for (const bool from_file : {false, true})
            CHECK_THROWS_AS(stream_of(damage.build().bytes, "drive-scsi0", from_file), base::Error);
    }
}
