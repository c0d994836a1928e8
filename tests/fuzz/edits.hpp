// Changes to bytes that are valid, as an input says.
#pragma once

#include "fuzz_target.hpp"

namespace vmad::fuzz {

/// Writes over a few bytes, leaves them out, repeats them, until the input ends. `most_bytes` is about how
/// long it gets.
inline void edit(Bytes& bytes, Input& input, std::size_t most_bytes) {
    while (!input.empty() && !bytes.empty() && bytes.size() < most_bytes) {
        const auto at = input.below(bytes.size());
        const auto place = bytes.begin() + static_cast<std::ptrdiff_t>(at);
        const auto end = place + static_cast<std::ptrdiff_t>(
                                     std::min<std::size_t>(1 + input.below(600), bytes.size() - at));
        switch (input.below(4)) {
            case 0:
                *place = std::byte{input.take()};
                break;
            case 1:
                bytes.erase(place, end);
                break;
            case 2: {
                const Bytes copy(place, end);
                bytes.insert(place, copy.begin(), copy.end());
                break;
            }
            default: {
                const auto written = input.bytes(static_cast<std::size_t>(end - place));
                std::copy(written.begin(), written.end(), place);
            }
        }
    }
}

}  // namespace vmad::fuzz
