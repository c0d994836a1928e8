// Checksums of what a reading of a file gave, block by block, so that a second reading of it can be compared
// with the first, and a difference has a place.
//
// They are XXH3-64: against accidents, not attackers. At most 64 Ki of them, whatever the size of the file.
// One thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include <xxhash.h>

#include "io/byte_stream.hpp"

namespace vmad::io {

class ReadSums {
  public:
    /// Of a file that has so many bytes: as many as its blocks depend on that, two readings are compared only
    /// where it is the same.
    explicit ReadSums(std::uint64_t size_bytes);

    /// The next bytes.
    void add(std::span<const std::byte> bytes);
    /// Begins anew.
    void clear() noexcept;

    /// First byte of a block, and the first behind it.
    struct Block {
        std::uint64_t begin = 0;
        std::uint64_t end = 0;
        friend bool operator==(const Block&, const Block&) = default;
    };
    /// The first block that the two readings do not have the same: nothing when they agree. One that came to
    /// an end earlier differs there.
    [[nodiscard]] std::optional<Block> first_difference(const ReadSums& other) const;
    /// Of the whole blocks that both have: one of them was not read to its end.
    [[nodiscard]] std::optional<Block> first_difference_so_far(const ReadSums& other) const;

  private:
    struct Deleter {
        void operator()(XXH3_state_t* state) const noexcept { XXH3_freeState(state); }
    };
    [[nodiscard]] std::vector<std::uint64_t> all() const;

    std::uint64_t block_bytes_;
    std::vector<std::uint64_t> sums_;  ///< of whole blocks
    std::unique_ptr<XXH3_state_t, Deleter> state_;
    std::uint64_t added_ = 0;  ///< in all
};

/// A source, whose bytes are summed up as they are read.
class SummedSource final : public ByteSource {
  public:
    /// Begins `sums`, which outlives this object, anew.
    SummedSource(std::unique_ptr<ByteSource> source, ReadSums& sums)
        : source_(std::move(source)), sums_(sums) {
        sums_.clear();
    }
    [[nodiscard]] std::size_t read(std::span<iovec> into) override;
    [[nodiscard]] std::optional<std::uint64_t> size_bytes() const override { return source_->size_bytes(); }
    [[nodiscard]] SourceProgress progress() const override { return source_->progress(); }

  private:
    std::unique_ptr<ByteSource> source_;
    ReadSums& sums_;
    std::vector<iovec> slices_;  ///< as they were given
};

}  // namespace vmad::io
