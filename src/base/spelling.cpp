#include "base/spelling.hpp"

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

namespace vmad::base {
namespace {

/// How many letters must be added, dropped, changed or swapped with the next to make one word of the other:
/// the optimal string alignment distance.
std::size_t edit_distance(std::string_view a, std::string_view b) {
    std::vector<std::size_t> before;
    std::vector<std::size_t> last(b.size() + 1);
    std::vector<std::size_t> row(b.size() + 1);
    std::iota(row.begin(), row.end(), 0);
    for (std::size_t i = 1; i <= a.size(); ++i) {
        before = std::exchange(last, row);
        row[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            row[j] = std::min({last[j - 1] + (a[i - 1] != b[j - 1]), last[j] + 1, row[j - 1] + 1});
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = std::min(row[j], before[j - 2] + 1);
        }
    }
    return row.back();
}

}  // namespace

std::optional<std::string> similar_word(std::string_view unknown, std::span<const std::string> known) {
    // A word of three letters is like every other one of them that shares a letter.
    constexpr std::size_t kMostEdits = 2;
    const auto most = std::min(kMostEdits, (unknown.size() + 2) / 3);
    const auto distance = [&](const std::string& word) -> std::size_t {
        const bool begins_it = unknown.size() > 1 && word.starts_with(unknown);
        return begins_it ? 1 : edit_distance(unknown, word);
    };
    const auto nearest = std::min_element(
        known.begin(), known.end(),
        [&](const std::string& a, const std::string& b) { return distance(a) < distance(b); });
    if (nearest == known.end() || distance(*nearest) > most) return std::nullopt;
    return *nearest;
}

}  // namespace vmad::base
