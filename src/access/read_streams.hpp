// Tells reads that go on where others ended from those at random, so that what comes next can be loaded
// ahead.
//
// Any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>

namespace vmad::access {

/// How many parts to load ahead of sequential reads: as many as wanted, or twice the processors for 0. At
/// most half of what may be kept in memory: the rest is for those who read.
[[nodiscard]] std::size_t parts_ahead(unsigned wanted, std::uint64_t memory_bytes,
                                      std::size_t part_bytes) noexcept;

class ReadStreams {
  public:
    /// Notes a read of a device (any number, where there is but one) that ends in `part`, whatever that is a
    /// part of. True for the first read of a sequential stream to get there.
    [[nodiscard]] bool follow(std::uint8_t device_id, std::uint64_t offset, std::uint64_t bytes,
                              std::uint64_t part);

  private:
    /// Reads of a device that follow each other.
    struct Stream {
        std::uint8_t device_id = 0;
        std::uint64_t end = 0;      ///< of what was read
        std::uint64_t bytes = 0;    ///< that were read one behind the other
        std::uint64_t reached = 0;  ///< one more than the part that it was last said to be in; 0 none
        std::uint64_t used = 0;     ///< the higher, the later
    };
    [[nodiscard]] Stream& stream_of(std::uint8_t device_id, std::uint64_t offset);

    std::mutex mutex_;
    std::array<Stream, 16> streams_{};
    std::uint64_t reads_ = 0;
};

}  // namespace vmad::access
