#include "base/spelling.hpp"

#include <array>
#include <utility>

#include <doctest/doctest.h>

using namespace vmad::base;

TEST_CASE("a misspelled word is known by the nearest") {
    const std::array<std::string, 8> known{"status", "list",      "scan",   "log",
                                           "wait",   "--timeout", "--vmid", "-f"};
    const std::pair<const char*, const char*> misspelled[] = {
        {"statsu", "status"},      {"sttus", "status"},     {"stats", "status"},
        {"stat", "status"},        {"st", "status"},        {"lsit", "list"},
        {"lst", "list"},           {"scna", "scan"},        {"wiat", "wait"},
        {"--timout", "--timeout"}, {"--time", "--timeout"}, {"-timeout", "--timeout"},
        {"--vimd", "--vmid"},      {"logs", "log"}};
    for (const auto& [word, meant] : misspelled) {
        CAPTURE(word);
        CHECK(similar_word(word, known) == meant);
    }
    for (const auto* word : {"", "x", "frob", "--frob", "extract", "ls", "t"}) {
        CAPTURE(word);
        CHECK(similar_word(word, known) == std::nullopt);
    }
    CHECK(similar_word("status", {}) == std::nullopt);
}

TEST_CASE("law: every known word is nearest to itself, and to itself without a letter") {
    const std::array<std::string, 4> known{"workers", "zstd_level", "keep_days", "keep_jobs"};
    for (const auto& word : known) {
        CHECK(similar_word(word, known) == word);
        for (std::size_t i = 0; i < word.size(); ++i)
            CHECK(similar_word(std::string(word).erase(i, 1), known) == word);
    }
}
