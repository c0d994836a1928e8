// Law: a .lzo file is read exactly when lzop takes it, with no other warning than that it holds several
// files, and gives the bytes that lzop gives.
#include <sys/wait.h>

#include "codec/lzop.hpp"
#include "streams.hpp"
#include "support/memory_file.hpp"

namespace vmad::fuzz {
namespace {

bool has_lzop() {
    static const bool found = std::system("command -v lzop >/dev/null") == 0;
    return found;
}

struct Run {
    int status = 0;  ///< as of wait()
    Bytes output;
    std::string messages;
};

Run run_lzop(const std::string& options, View bytes) {
    const auto in = testing::memory_file(bytes);
    const auto out = testing::memory_file();
    const auto messages = testing::memory_file();
    const auto name = [](const io::File& file) {
        return "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(file.fd());
    };
    const auto command = "exec lzop " + options + " <" + name(in) + " >" + name(out) + " 2>" + name(messages);
    const int status = std::system(command.c_str());
    return {status, testing::content_of(out), text_of(testing::content_of(messages))};
}

/// Whether these are lines of that warning only.
bool tells_of_several(std::string_view messages) {
    while (!messages.empty()) {
        const auto line = messages.substr(0, messages.find('\n'));
        if (line.find("multipart archive") == line.npos) return false;
        messages.remove_prefix(std::min(messages.size(), line.size() + 1));
    }
    return true;
}

/// By the program; nothing when it complains.
std::optional<Bytes> stock_unlzop(View stored) {
    auto run = run_lzop("-dc", stored);
    const bool is_taken =
        WIFEXITED(run.status) &&
        (WEXITSTATUS(run.status) == 0 || (WEXITSTATUS(run.status) == 2 && tells_of_several(run.messages)));
    return is_taken ? std::optional(std::move(run.output)) : std::nullopt;
}

void run(View bytes) {
    Input input(bytes);
    const auto read_bytes = 1 + input.below(100000);
    const auto stored = input.rest();
    testing::MemorySource stream(stored, false);
    const auto decoder = codec::make_lzop_decoder(stream, nullptr);
    try {
        require(read_all(*decoder, read_bytes) == stock_unlzop(stored), "a file is read as lzop reads it");
    } catch (const Undecided&) {
    }
}

std::vector<Bytes> seeds() {
    std::vector<Bytes> result;
    for (const std::size_t size : {0, 1, 3000}) {
        std::string content;
        while (content.size() < size) content += std::to_string(content.size() * 7919);
        const auto stored = run_lzop("-1", bytes_of(content.substr(0, size)));
        require(stored.status == 0, "lzop compresses");
        auto seed = bytes_of(std::string_view("\xff\x0f\0\0", 4));
        append(seed, stored.output);
        result.push_back(std::move(seed));
    }
    return result;
}

const Registration registration({"lzop", 4, run, seeds, has_lzop});

}  // namespace
}  // namespace vmad::fuzz
