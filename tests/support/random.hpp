// Random numbers that are the same on every machine for the same seed, and quick enough for disk content.
//
// splitmix64. Not for secrets; not for two threads at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

namespace vmad::testing {

/// One step of splitmix64: every bit of the result depends on every bit of `value`.
[[nodiscard]] constexpr std::uint64_t mix(std::uint64_t value) noexcept {
    value += 0x9e3779b97f4a7c15U;
    value = (value ^ (value >> 30U)) * 0xbf58476d1ce4e5b9U;
    value = (value ^ (value >> 27U)) * 0x94d049bb133111ebU;
    return value ^ (value >> 31U);
}

class Random {
  public:
    explicit Random(std::uint64_t seed) noexcept : state_(mix(seed)) {}

    [[nodiscard]] std::uint64_t next() noexcept { return mix(state_++); }
    /// From 0 to `end` - 1; `end` is at least 1.
    [[nodiscard]] std::uint64_t below(std::uint64_t end) noexcept { return next() % end; }
    /// True with this probability. Draws nothing when it is 0, so that an unused option changes nothing.
    [[nodiscard]] bool chance(double probability) noexcept {
        return probability > 0 && static_cast<double>(next() >> 11U) * 0x1p-53 < probability;
    }
    void fill(std::span<std::byte> bytes) noexcept {
        while (!bytes.empty()) {
            const std::uint64_t word = next();
            const std::size_t count = bytes.size() < sizeof word ? bytes.size() : sizeof word;
            std::memcpy(bytes.data(), &word, count);
            bytes = bytes.subspan(count);
        }
    }
    template <typename T>
    void shuffle(std::vector<T>& items) noexcept {
        for (std::size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[below(i)]);
    }

  private:
    std::uint64_t state_;
};

}  // namespace vmad::testing
