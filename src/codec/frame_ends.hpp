// Where the frames of a stream end, boiled down so that two lists of any length can be compared.
#pragma once

#include <cstdint>

namespace vmad::codec {

/// Equal for equal lists of offsets; for different ones with a chance of some 2^-64. Guards against
/// accidents, not attackers.
class FrameEnds {
  public:
    /// `offset` counts bytes of what the frames hold, not of the frames; ascending.
    void add(std::uint64_t offset) noexcept {
        ++count_;
        hash_ = (hash_ + offset) * 0x9e3779b97f4a7c15;
        hash_ ^= hash_ >> 29;
    }
    friend bool operator==(const FrameEnds&, const FrameEnds&) = default;

  private:
    std::uint64_t count_ = 0;
    std::uint64_t hash_ = 0;
};

}  // namespace vmad::codec
