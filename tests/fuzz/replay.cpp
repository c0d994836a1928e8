// Runs all targets over what a fuzzer starts from and over their corpus, and over damaged copies of both, the
// same ones each time: what a test run does without a fuzzer.
//
//     fuzz-replay CORPUS [TARGET]...     replays CORPUS/TARGET/*
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <span>
#include <stdexcept>

#include "fuzz_target.hpp"
#include "support/random.hpp"

using namespace vmad::fuzz;

namespace {

namespace fs = std::filesystem;

/// Says so to meson.
constexpr int kSkipped = 77;

Bytes content_of(const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    return bytes_of(std::string(std::istreambuf_iterator<char>(in), {}));
}

std::vector<fs::path> files_in(const fs::path& directory) {
    std::vector<fs::path> files;
    if (fs::is_directory(directory))
        for (const auto& entry : fs::directory_iterator(directory)) files.push_back(entry.path());
    if (files.empty()) throw std::runtime_error(directory.string() + ": there are no inputs");
    std::sort(files.begin(), files.end());
    return files;
}

void damage(Bytes& bytes, vmad::testing::Random& random) {
    if (bytes.empty()) return;
    const auto at = random.below(bytes.size());
    const auto place = bytes.begin() + static_cast<std::ptrdiff_t>(at);
    const auto count =
        static_cast<std::ptrdiff_t>(1 + random.below(std::min<std::size_t>(16, bytes.size() - at)));
    switch (random.below(5)) {
        case 0:
            *place ^= static_cast<std::byte>(1 << random.below(8));
            break;
        case 1:
            *place = std::byte{random.chance(0.5) ? std::uint8_t{0} : std::uint8_t{0xff}};
            break;
        case 2:
            bytes.erase(place, place + count);
            break;
        case 3: {
            const Bytes copy(place, place + count);
            bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(random.below(bytes.size())),
                         copy.begin(), copy.end());
            break;
        }
        default:
            bytes.resize(at);
    }
}

void replay(const Target& target, const std::string& name, const Bytes& whole) {
    // Before it is run, because what finds something ends the process.
    std::cerr << target.name << '/' << name << '\n';
    target.run(whole);
    vmad::testing::Random random(whole.size());
    for (unsigned i = 0; i < target.replays; ++i) {
        auto damaged = whole;
        for (auto count = 1 + random.below(3); count > 0; --count) damage(damaged, random);
        target.run(damaged);
    }
}

/// How many inputs were tried.
std::size_t replay(const Target& target, const fs::path& corpus) {
    const auto seeds = target.seeds();
    const auto files = files_in(corpus / target.name);
    for (std::size_t i = 0; i < seeds.size(); ++i) replay(target, "seed-" + std::to_string(i + 1), seeds[i]);
    for (const auto& file : files) replay(target, file.filename().string(), content_of(file));
    return (seeds.size() + files.size()) * (1 + target.replays);
}

/// All, or those with these names.
std::vector<Target> chosen(std::span<const std::string> names) {
    if (names.empty()) return targets();
    std::vector<Target> result;
    for (const auto& name : names) {
        const auto found = std::find_if(targets().begin(), targets().end(),
                                        [&](const Target& target) { return target.name == name; });
        if (found == targets().end()) throw std::runtime_error("no target \"" + name + "\"");
        result.push_back(*found);
    }
    return result;
}

}  // namespace

int main(int argc, char** argv) try {
    const std::vector<std::string> words(argv + 1, argv + argc);
    if (words.empty()) {
        std::cerr << "usage: fuzz-replay CORPUS [TARGET]...\n";
        return 2;
    }
    bool is_skipped = false;
    for (const auto& target : chosen(std::span(words).subspan(1))) {
        is_skipped = target.can_run != nullptr && !target.can_run();
        const auto tried = is_skipped ? "this machine lacks what it needs"
                                      : std::to_string(replay(target, words[0])) + " inputs";
        std::cout << target.name << ": " << tried << std::endl;
    }
    return words.size() == 2 && is_skipped ? kSkipped : 0;
} catch (const std::exception& error) {
    std::cerr << "fuzz-replay: " << error.what() << '\n';
    return 1;
}
