// Where the bytes of a file stand on the device, looked up best in ascending order: some hundred extents are
// asked for at a time. One thread.
#pragma once

#include <cstdint>
#include <vector>

#include "io/file_system.hpp"

namespace vmad::repack {

class DeviceMap {
  public:
    /// `fs` and `file` outlive it.
    DeviceMap(io::FileSystem& fs, const io::File& file) : fs_(fs), file_(file) {}

    /// The first extent that ends behind `offset` and begins before `end`; null when there is none, or none
    /// can be told. Valid until the next call.
    [[nodiscard]] const io::DeviceExtent* find(std::uint64_t offset, std::uint64_t end);

  private:
    io::FileSystem& fs_;
    const io::File& file_;
    std::vector<io::DeviceExtent> extents_;
    std::uint64_t known_from_ = 0;  ///< all extents from here on
    std::uint64_t known_to_ = 0;    ///< up to here are in extents_
};

/// How many bytes, of ranges of two files that begin at these offsets, stand in the same blocks.
[[nodiscard]] std::uint64_t bytes_in_same_place(DeviceMap& a, std::uint64_t a_offset, DeviceMap& b,
                                                std::uint64_t b_offset, std::uint64_t bytes);

}  // namespace vmad::repack
