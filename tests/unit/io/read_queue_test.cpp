#include "io/read_queue.hpp"

#include <fcntl.h>

#include <algorithm>
#include <deque>

#include <doctest/doctest.h>

#include "base/buffer_pool.hpp"
#include "io/file_system.hpp"
#include "support/temporary_directory.hpp"

using namespace vmad;

namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kPiece = 64 * kPage;
constexpr unsigned kDepth = 5;

struct Read {
    std::shared_ptr<base::Buffer> buffer;
    std::uint64_t offset;
};

/// Reads the pieces of `content` in that order, with as many under way as there may be.
void check_reads(io::ReadQueue& reads, const std::string& content,
                 const std::vector<std::uint64_t>& offsets) {
    base::BufferPool buffers(kPiece, 0, kDepth * kPiece);
    std::deque<Read> started;
    const auto finish = [&] {
        const auto [buffer, offset] = started.front();
        started.pop_front();
        const auto expected = offset < content.size() ? std::string_view(content).substr(offset, kPiece) : "";
        REQUIRE(reads.finish() == expected.size());
        CHECK(std::equal(expected.begin(), expected.end(), reinterpret_cast<const char*>(buffer->data())));
    };
    for (const auto offset : offsets) {
        if (started.size() == kDepth) finish();
        started.push_back({buffers.get(kPiece), offset});
        reads.start({started.back().buffer->data(), kPiece}, offset);
    }
    while (!started.empty()) finish();
}

}  // namespace

TEST_CASE("law: reads end in the order in which they were started, with what stands at their offsets") {
    const support::TemporaryDirectory directory;
    std::string content(40 * kPiece + 777, '\0');
    for (std::size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>(i * 31 + i / kPage);
    directory.write("file", content);
    std::vector<std::uint64_t> offsets;
    for (std::uint64_t i = 0; i < 43; ++i) offsets.push_back(i * 17 % 43 * kPiece);
    io::FileSystem fs;
    const auto file = fs.open(directory / "file", O_RDONLY);
    check_reads(*io::waiting_reads(fs, file), content, offsets);
    if (const auto reads = io::kernel_reads(file, kDepth)) check_reads(*reads, content, offsets);
    const auto direct = fs.reopen_direct(file);
    if (!direct) return;
    base::BufferPool buffers(kPiece, 0, kPiece);
    const auto buffer = buffers.get(kPiece);
    if (const auto reads = io::kernel_reads(*direct, kDepth)) {
        check_reads(*reads, content, offsets);
        // What is under way ends with the queue, before its memory.
        reads->start({buffer->data(), kPiece}, 0);
    }
}

TEST_CASE("a read that fails is told when it is waited for, and the others are not harmed") {
    const support::TemporaryDirectory directory;
    io::FileSystem fs;
    const auto not_a_file = fs.open(directory / "", O_RDONLY | O_DIRECTORY);
    base::BufferPool buffers(kPiece, 0, 2 * kPiece);
    const auto buffer = buffers.get(kPiece);
    const auto check = [&](std::unique_ptr<io::ReadQueue> reads) {
        if (!reads) return;
        for (int i = 0; i < 2; ++i) reads->start({buffer->data(), kPiece}, 0);
        for (int i = 0; i < 2; ++i) CHECK_THROWS_AS((void)reads->finish(), base::SystemError);
    };
    check(io::waiting_reads(fs, not_a_file));
    check(io::kernel_reads(not_a_file, 2));
}
