// Law: a .lzo file is read exactly when lzop takes it, and gives the bytes that lzop gives.
#include <sys/wait.h>

#include <array>

#include "codec/lzop.hpp"
#include "fuzz_target.hpp"
#include "support/memory_file.hpp"
#include "support/temporary_directory.hpp"

namespace vmad::fuzz {
namespace {

using support::TemporaryDirectory;

bool has_lzop() {
    static const bool found = std::system("command -v lzop >/dev/null") == 0;
    return found;
}

const TemporaryDirectory& directory() {
    static const TemporaryDirectory made(TemporaryDirectory::fast_base());
    return made;
}

std::string text_of(View bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

/// By the program; nothing when it complains.
std::optional<Bytes> stock_unlzop(View stored) {
    directory().write("stored", text_of(stored));
    const auto command =
        "lzop -dc <" + (directory() / "stored") + " >" + (directory() / "content") + " 2>/dev/null";
    const int status = std::system(command.c_str());
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) return std::nullopt;
    return bytes_of(directory().read("content"));
}

std::optional<Bytes> read_all(View stored, std::size_t read_bytes) {
    testing::MemorySource stream(stored, false);
    Bytes content;
    Bytes piece(read_bytes);
    try {
        const auto decoder = codec::make_lzop_decoder(stream, nullptr);
        while (true) {
            iovec slice{piece.data(), piece.size()};
            const auto count = decoder->read({&slice, 1});
            content.insert(content.end(), piece.begin(), piece.begin() + static_cast<std::ptrdiff_t>(count));
            if (count < read_bytes) return content;
        }
    } catch (const base::Error&) {
        return std::nullopt;
    }
}

void run(View bytes) {
    Input input(bytes);
    const auto read_bytes = 1 + input.below(100000);
    const auto stored = input.rest();
    require(read_all(stored, read_bytes) == stock_unlzop(stored), "a file is read as lzop reads it");
}

std::vector<Bytes> seeds() {
    std::vector<Bytes> result;
    for (const std::size_t size : {0, 1, 3000}) {
        std::string content;
        while (content.size() < size) content += std::to_string(content.size() * 7919);
        directory().write("content", content.substr(0, size));
        require(std::system(
                    ("lzop -1 <" + (directory() / "content") + " >" + (directory() / "stored")).c_str()) == 0,
                "lzop compresses");
        result.push_back(bytes_of(std::string("\xff\x0f\0\0", 4) + directory().read("stored")));
    }
    return result;
}

const Registration registration({"lzop", 4, run, seeds, has_lzop});

}  // namespace
}  // namespace vmad::fuzz
