// What a fuzz target is made of: its registration, its input as numbers and bytes, and how it says that its
// law does not hold.
//
// A target is a function of its input and of nothing else, so that each finding can be replayed.
#pragma once

#include <stdlib.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "support/temporary_directory.hpp"
#include "support/vma_fields.hpp"

namespace vmad::fuzz {

using testing::Bytes;
using testing::View;

struct Target {
    const char* name;
    /// How often a test run tries each file of the corpus, each time with other damage.
    unsigned replays;
    void (*run)(View input);
    /// What a fuzzer starts from.
    std::vector<Bytes> (*seeds)();
    /// Whether this machine has what it needs; null: nothing.
    bool (*can_run)() = nullptr;
};

/// All that are linked.
[[nodiscard]] inline std::vector<Target>& targets() {
    static std::vector<Target> all;
    return all;
}

struct Registration {
    explicit Registration(const Target& target) { targets().push_back(target); }
};

/// Ends the process when the law does not hold, as fuzzers expect it.
inline void require(bool holds, std::string_view law) {
    if (holds) return;
    (void)std::fprintf(stderr, "The law does not hold: %.*s\n", static_cast<int>(law.size()), law.data());
    std::abort();
}

[[nodiscard]] inline Bytes bytes_of(std::string_view text) {
    const auto* begin = reinterpret_cast<const std::byte*>(text.data());
    return {begin, begin + text.size()};
}
[[nodiscard]] inline std::string text_of(View bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

inline void append(Bytes& to, View bytes) { to.insert(to.end(), bytes.begin(), bytes.end()); }

/// A directory, in memory where that can be, for what a target writes. It goes when this process has ended,
/// however it did.
[[nodiscard]] inline const std::string& scratch() {
    static const std::string path = [] {
        std::string made = support::TemporaryDirectory::fast_base() + "/vmad-fuzz-XXXXXX";
        require(::mkdtemp(made.data()) != nullptr, "a directory can be made");
        // It ends when its input does, which is when nobody is left who could write to it.
        const auto remover = "trap '' INT TERM HUP; read -r _; rm -rf '" + made + "'";
        require(::popen(remover.c_str(), "we") != nullptr, "a program can be run");
        return made;
    }();
    return path;
}

/// Takes numbers and bytes off the front of an input; zeros where it has ended.
class Input {
  public:
    explicit Input(View bytes) : rest_(bytes) {}

    template <typename Integer = std::uint8_t>
    [[nodiscard]] Integer take() {
        std::make_unsigned_t<Integer> value = 0;
        for (unsigned i = 0; i < sizeof value && !rest_.empty(); ++i, rest_ = rest_.subspan(1))
            value = static_cast<decltype(value)>(value | std::to_integer<std::uint64_t>(rest_[0]) << 8 * i);
        return static_cast<Integer>(value);
    }
    /// From 0 to `end` - 1; `end` is at least 1.
    [[nodiscard]] std::uint64_t below(std::uint64_t end) {
        return (end <= 256 ? take<std::uint8_t>() : take<std::uint32_t>()) % end;
    }
    [[nodiscard]] bool flag() { return (take() & 1) != 0; }
    /// As many as there are, `count` at most.
    [[nodiscard]] View bytes(std::size_t count) {
        const auto taken = rest_.first(std::min(count, rest_.size()));
        rest_ = rest_.subspan(taken.size());
        return taken;
    }
    [[nodiscard]] View rest() { return bytes(rest_.size()); }
    [[nodiscard]] std::string text() { return text_of(rest()); }
    [[nodiscard]] bool empty() const { return rest_.empty(); }

  private:
    View rest_;
};

}  // namespace vmad::fuzz
