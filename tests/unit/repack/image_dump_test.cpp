#include "repack/image_dump.hpp"

#include <fcntl.h>

#include <doctest/doctest.h>

#include "repack/config_list.hpp"
#include "support/dump.hpp"
#include "support/fault_file_system.hpp"
#include "support/memory_file.hpp"
#include "support/random.hpp"
#include "support/reference.hpp"

using namespace vmad;
using testing::Bytes;

namespace {

constexpr std::uint64_t kCtime = testing::DumpOptions{}.ctime;

/// A disk as a file in memory: zeros are holes where the file system makes them, which is by pages.
repack::DiskImage image_of(io::FileSystem& fs, const std::string& name, const Bytes& content) {
    auto file = testing::memory_file();
    fs.truncate(file, content.size());
    for (std::size_t at = 0; at < content.size(); at += 4096) {
        const auto block = std::span(content).subspan(at, std::min<std::size_t>(4096, content.size() - at));
        if (std::all_of(block.begin(), block.end(), [](auto byte) { return byte == std::byte{}; })) continue;
        auto slice = io::const_slice(block);
        io::write_fully_at(fs, file, {&slice, 1}, at);
    }
    return repack::image_of(fs, name, io::File(file.take(), name + ".raw"));
}

struct Dump {
    std::vector<repack::DiskImage> disks;
    vma::Header header;

    Dump(io::FileSystem& fs, const testing::Contents& contents) {
        for (const auto& [name, content] : contents.disks) disks.push_back(image_of(fs, name, content));
        std::vector<vma::Config> configs;
        for (const auto& [name, data] : contents.configs)
            configs.push_back({name, {reinterpret_cast<const char*>(data.data()), data.size()}});
        header = repack::header_of(disks, configs, kCtime);
    }
};

/// Read in pieces of up to `most` bytes, two at a time.
Bytes all_of(io::ByteSource& source, std::size_t most, std::uint64_t seed) {
    testing::Random random(seed);
    Bytes result;
    for (;;) {
        Bytes first(random.below(most));
        Bytes second(1 + random.below(most));
        std::array<iovec, 2> into{{{first.data(), first.size()}, {second.data(), second.size()}}};
        const auto count = source.read(into);
        first.insert(first.end(), second.begin(), second.end());
        result.insert(result.end(), first.begin(), first.begin() + static_cast<std::ptrdiff_t>(count));
        if (count < first.size()) return result;
    }
}

/// Without names that no file can have.
testing::Guest guest_of(std::uint64_t seed) {
    auto guest = testing::random_guest(seed);
    std::erase_if(guest.configs, [](const auto& config) { return !repack::is_file_name(config.name); });
    return guest;
}

repack::DiskImage small_image(io::FileSystem& fs) {
    return image_of(fs, "drive-scsi0", Bytes(4096, std::byte{1}));
}

}  // namespace

TEST_CASE("law: the stream holds the images' content, however it is read, and holes are not in it") {
    io::FileSystem fs;
    for (std::uint64_t seed = 0; seed < 25; ++seed) {
        CAPTURE(seed);
        const auto guest = guest_of(seed);
        const auto contents = testing::contents_of(guest);
        Dump images(fs, contents);
        repack::ImageDump dump(fs, images.header, std::move(images.disks));
        const auto archive = all_of(dump, seed % 2 == 0 ? 100000 : 1 << 22, seed);
        CHECK(testing::extract(archive) == contents);
        const auto canonical = testing::reference_repack(testing::dump(guest));
        CHECK(testing::reference_repack(archive) == canonical);
        const auto progress = dump.progress();
        CHECK(progress.done_bytes == progress.total_bytes);
        CHECK(progress.total_bytes <= canonical.size());
    }
}

TEST_CASE("an image that changes while it is read is an error") {
    struct Change {
        std::function<void(io::FileSystem&, const io::File&)> make;
        const char* message;
    };
    const Change changes[] = {
        {[](auto& fs, const auto& file) { fs.truncate(file, 1 << 20); },
         "drive-scsi0.raw became shorter while it was read"},
        {[](auto& fs, const auto& file) { fs.truncate(file, 5 << 20); },
         "the size of drive-scsi0.raw changed from 4194304 to 5242880 while it was read"},
        {[](auto& fs, const auto& file) {
             fs.set_modified(file, {1, 0});
         },
         "drive-scsi0.raw was written to while it was read: stop the guest, or use a snapshot of its disk"}};
    for (const auto& [make, message] : changes) {
        io::FileSystem fs;
        Dump images(fs, {{}, {{"drive-scsi0", Bytes(4 << 20, std::byte{1})}}});
        const io::File same(base::UniqueFd(::dup(images.disks[0].file.fd())), "same");
        repack::ImageDump dump(fs, images.header, std::move(images.disks));
        Bytes begin(100000);
        iovec into{begin.data(), begin.size()};
        CHECK(dump.read({&into, 1}) == begin.size());
        make(fs, same);
        CHECK_THROWS_WITH_AS((void)all_of(dump, 1 << 20, 1), message, base::Error);
    }
}

TEST_CASE("whichever operation fails, no stream comes to its end") {
    for (unsigned failing = 1;; ++failing) {
        CAPTURE(failing);
        support::FaultFileSystem fs;
        Dump images(fs, {{}, {{"drive-scsi0", Bytes(70000 / 512 * 512, std::byte{1})}, {"x", Bytes(512)}}});
        fs.forget_calls();
        bool failed = false;
        fs.before = [&](const support::Call& call) {
            if (call.number != failing || call.operation == "advise") return;
            failed = true;
            support::FaultFileSystem::fail(EIO, call);
        };
        bool threw = false;
        try {
            repack::ImageDump dump(fs, images.header, std::move(images.disks));
            (void)all_of(dump, 1 << 20, 1);
        } catch (const base::SystemError& error) {
            CHECK(error.number() == EIO);
            threw = true;
        }
        CHECK(threw == failed);
        if (fs.calls() < failing) break;
    }
}

TEST_CASE("where holes cannot be told, all is data") {
    support::FaultFileSystem fs;
    const testing::Contents contents{{}, {{"drive-scsi0", Bytes(1 << 20)}}};
    Dump images(fs, contents);
    fs.before = [](const support::Call& call) {
        if (call.operation == "seek") support::FaultFileSystem::fail(EINVAL, call);
    };
    const auto data = io::next_data(fs, images.disks[0].file, 8192, 1 << 20);
    REQUIRE(data);
    CHECK(data->begin == 8192);
    CHECK(data->end == 1 << 20);
}

TEST_CASE("what makes no archive is refused") {
    io::FileSystem fs;
    const auto message_of = [&](const std::vector<std::string>& names,
                                std::vector<vma::Config> configs) -> std::string {
        std::vector<repack::DiskImage> disks;
        for (const auto& name : names) {
            disks.push_back(small_image(fs));
            disks.back().name = name;
        }
        try {
            (void)repack::header_of(disks, std::move(configs), 0);
        } catch (const base::UsageError& error) {
            return error.what();
        }
        return "";
    };
    CHECK(message_of({"a"}, {{"a", ""}}).empty());
    CHECK(message_of({"a", "b", "a"}, {}) == "two disks have the name a");
    CHECK(message_of({"a/b"}, {}) == "\"a/b\" cannot name a disk: it is not a valid file name");
    CHECK(message_of({"vmstate"}, {}) ==
          "a disk cannot be called vmstate: that is the guest's RAM in an archive");
    CHECK(message_of({}, {{"x", ""}, {"x", ""}}) == "two configs have the name x");
    CHECK(message_of({}, {{"..", ""}}) == "\"..\" cannot name a config: it is not a valid file name");
    CHECK(message_of({}, {{"x", std::string(65536, 'x')}}) ==
          "config x has 65536 bytes; an archive holds at most 65535");
    std::vector<std::string> names;
    for (unsigned i = 0; i < 255; ++i) names.push_back(std::to_string(i));
    CHECK(message_of(names, {}) == "an archive holds at most 254 disks");
    names.pop_back();
    CHECK(message_of(names, {}).empty());
    std::vector<vma::Config> configs;
    for (unsigned i = 0; i < 257; ++i) configs.push_back({std::to_string(i), ""});
    CHECK(message_of({}, configs) == "an archive holds at most 256 configs");
}

TEST_CASE("configs are edited in their places") {
    const std::vector<vma::Config> configs{{"a", "1"}, {"b", "2"}, {"c", "3"}};
    using Edited = std::vector<vma::Config>;
    CHECK(repack::edited(configs, {}) == configs);
    CHECK(repack::edited(configs, {{{"b", "5"}, {"d", "4"}}, {"a"}}) ==
          Edited{{"b", "5"}, {"c", "3"}, {"d", "4"}});
    // Of several with one name, the last is what a restore is left with.
    const std::vector<vma::Config> twice{{"a", "1"}, {"b", "2"}, {"a", "3"}};
    CHECK(repack::edited(twice, {{{"a", "5"}}, {}}) == Edited{{"a", "5"}, {"b", "2"}});
    CHECK(repack::edited(twice, {{}, {"a"}}) == Edited{{"b", "2"}});
    CHECK_THROWS_WITH_AS((void)repack::edited(configs, {{}, {"x"}}),
                         "the archive has no config x; it has a, b, c", base::UsageError);
    CHECK_THROWS_WITH_AS((void)repack::edited({}, {{}, {"x"}}), "the archive has no config x; it has none",
                         base::UsageError);
    CHECK_THROWS_WITH_AS((void)repack::edited(configs, {{{"a", ""}}, {"a"}}),
                         "config a is to be both set and removed", base::UsageError);
}
