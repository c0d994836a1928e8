// A source of which the first bytes were read already, to see what it holds.
#pragma once

#include <vector>

#include "io/byte_source.hpp"

namespace vmad::io {

/// What was read of a source already, and then the rest of it.
class PrefixedSource final : public ByteSource {
  public:
    /// `rest`, which outlives this object, has handed out `prefix` before.
    PrefixedSource(std::vector<std::byte> prefix, ByteSource& rest)
        : prefix_(std::move(prefix)), rest_(rest) {}
    [[nodiscard]] std::size_t read(std::span<iovec> into) override;
    [[nodiscard]] std::optional<std::uint64_t> size_bytes() const override { return rest_.size_bytes(); }
    [[nodiscard]] SourceProgress progress() const override { return rest_.progress(); }

  private:
    std::vector<std::byte> prefix_;
    std::size_t used_ = 0;
    ByteSource& rest_;
};

}  // namespace vmad::io
