#include "io/direct_source.hpp"

#include <fcntl.h>

#include <atomic>
#include <future>

#include <doctest/doctest.h>

#include "io/file_source.hpp"
#include "support/temporary_directory.hpp"

using namespace vmad;

namespace {

/// Gives direct reads only as strict file systems do, or none of them.
class PickyFileSystem final : public io::FileSystem {
  public:
    enum class Direct { as_it_is, no_such_flag, whole_blocks_only, refused } direct = Direct::as_it_is;

    std::optional<io::File> reopen_direct(const io::File& file) override {
        if (direct == Direct::no_such_flag) return std::nullopt;
        return io::File(base::UniqueFd(::dup(file.fd())), "direct");
    }
    std::unique_ptr<io::ReadQueue> read_queue(const io::File& file, unsigned) override {
        return io::waiting_reads(*this, file);
    }
    std::size_t read_at(const io::File& file, std::span<const iovec> into, std::uint64_t offset) override {
        const bool whole = offset % 4096 == 0 && into.front().iov_len % 4096 == 0;
        if (file.path() == "direct" &&
            (direct == Direct::refused || (direct == Direct::whole_blocks_only && !whole)))
            throw base::SystemError(EINVAL, "read", "direct");
        return FileSystem::read_at(file, into, offset);
    }
};

std::string read_all(io::ByteSource& source) {
    std::string text(std::size_t{20} << 20, '\0');
    iovec slice{text.data(), text.size()};
    text.resize(source.read({&slice, 1}));
    return text;
}

}  // namespace

TEST_CASE("a file of any size is read whole, whatever direct reads a file system gives") {
    const support::TemporaryDirectory directory;
    for (const std::size_t size : {0U, 1U, 4095U, 4096U, 4097U, (4U << 20) - 1, 4U << 20, (9U << 20) + 5}) {
        std::string content(size, '\0');
        for (std::size_t i = 0; i < size; ++i) content[i] = static_cast<char>(i * 31 + i / 4096);
        directory.write("file", content);
        using Direct = PickyFileSystem::Direct;
        for (const auto direct :
             {Direct::as_it_is, Direct::no_such_flag, Direct::whole_blocks_only, Direct::refused}) {
            CAPTURE(size);
            CAPTURE(static_cast<int>(direct));
            PickyFileSystem fs;
            fs.direct = direct;
            const auto file = fs.open(directory / "file", O_RDONLY);
            io::DirectSource source(fs, file);
            CHECK(source.size_bytes() == size);
            CHECK(read_all(source) == content);
            CHECK(source.progress().done_bytes == size);
        }
    }
}

namespace {

/// Fails a read past what the test has declared to be on the device.
class BoundedFileSystem final : public io::FileSystem {
  public:
    std::atomic<std::uint64_t> readable_bytes = 0;
    std::atomic<bool> overrun = false;

    std::optional<io::File> reopen_direct(const io::File&) override { return std::nullopt; }
    std::unique_ptr<io::ReadQueue> read_queue(const io::File& file, unsigned) override {
        return io::waiting_reads(*this, file);
    }
    std::size_t read_at(const io::File& file, std::span<const iovec> into, std::uint64_t offset) override {
        if (offset + into.front().iov_len > readable_bytes) overrun = true;
        return FileSystem::read_at(file, into, offset);
    }
};

}  // namespace

TEST_CASE("law: a file that is still written is read to its end, and never past what is on the device") {
    const support::TemporaryDirectory directory;
    for (const std::size_t size : {0U, 1U, 4U << 20, (8U << 20) + 4096, (13U << 20) + 5}) {
        for (const std::size_t step : {std::size_t{1} << 20, std::size_t{5} << 20, std::size_t{30} << 20}) {
            CAPTURE(size);
            CAPTURE(step);
            std::string content(size, '\0');
            for (std::size_t i = 0; i < size; ++i) content[i] = static_cast<char>(i * 31 + i / 4096);
            directory.write("file", "");
            BoundedFileSystem fs;
            const auto file = fs.open(directory / "file", O_RDWR);
            io::WrittenBoundary boundary;
            io::DirectSource source(fs, file, boundary);
            CHECK_FALSE(source.size_bytes());
            auto reader = std::async(std::launch::async, [&] { return read_all(source); });
            for (std::size_t at = 0; at < size; at += step) {
                const auto end = std::min(size, at + step);
                const iovec piece{content.data() + at, end - at};
                CHECK(fs.write_at(file, {&piece, 1}, at) == end - at);
                fs.readable_bytes = end;
                boundary.advance(end);
            }
            boundary.complete(size);
            CHECK(reader.get() == content);
            CHECK(source.size_bytes() == size);
            CHECK_FALSE(fs.overrun);
        }
    }
}

TEST_CASE("a reader that waits for a file whose writing is abandoned is woken") {
    const support::TemporaryDirectory directory;
    directory.write("file", "");
    io::FileSystem fs;
    const auto file = fs.open(directory / "file", O_RDWR);
    io::WrittenBoundary boundary;
    io::DirectSource source(fs, file, boundary);
    auto reader = std::async(std::launch::async, [&] { return read_all(source); });
    boundary.advance(17);
    boundary.abort();
    CHECK_THROWS_AS((void)reader.get(), base::Cancelled);
}

TEST_CASE("the end of a file that was still written is dropped from the page cache before it is read") {
    /// Reads what is in the page cache as it was, as file systems may that have direct reads only by name.
    class CachingFileSystem final : public io::FileSystem {
      public:
        std::atomic<bool> is_cached = true;

        void advise(const io::File&, std::uint64_t, std::uint64_t, int advice) override {
            if (advice == POSIX_FADV_DONTNEED) is_cached = false;
        }
        std::unique_ptr<io::ReadQueue> read_queue(const io::File& file, unsigned) override {
            return io::waiting_reads(*this, file);
        }
        std::size_t read_at(const io::File& file, std::span<const iovec> into, std::uint64_t at) override {
            const auto count = FileSystem::read_at(file, into, at);
            if (is_cached && count > 0) *static_cast<char*>(into.front().iov_base) = 'c';
            return count;
        }
    } fs;
    const support::TemporaryDirectory directory;
    directory.write("file", "of the device");
    const auto file = fs.open(directory / "file", O_RDONLY);
    io::WrittenBoundary boundary;
    io::DirectSource source(fs, file, boundary);
    boundary.complete(13);
    CHECK(read_all(source) == "of the device");
}
