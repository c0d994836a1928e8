#include "io/device_source.hpp"

#include <fcntl.h>

#include <doctest/doctest.h>

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
            io::DeviceSource source(fs, file);
            CHECK(source.size_bytes() == size);
            CHECK(read_all(source) == content);
            CHECK(source.progress().done_bytes == size);
        }
    }
}
