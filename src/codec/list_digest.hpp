// A list of numbers of any length, boiled down so that two of them can be compared.
#pragma once

#include <cstdint>

namespace vmad::codec {

/// Equal for equal lists; for different ones with a chance of some 2^-64. Guards against accidents, not
/// attackers.
class ListDigest {
  public:
    void add(std::uint64_t number) noexcept {
        ++count_;
        hash_ = (hash_ + number) * 0x9e3779b97f4a7c15;
        hash_ ^= hash_ >> 29;
    }
    friend bool operator==(const ListDigest&, const ListDigest&) = default;

  private:
    std::uint64_t count_ = 0;
    std::uint64_t hash_ = 0;
};

}  // namespace vmad::codec
