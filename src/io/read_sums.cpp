#include "io/read_sums.hpp"

#include <algorithm>
#include <bit>
#include <new>

namespace vmad::io {
namespace {

constexpr std::uint64_t kLeastBlockBytes = std::uint64_t{1} << 20;
constexpr std::uint64_t kMostBlocks = std::uint64_t{64} << 10;

}  // namespace

ReadSums::ReadSums(std::uint64_t size_bytes)
    : block_bytes_(std::max(kLeastBlockBytes, std::bit_ceil(size_bytes / kMostBlocks + 1))),
      state_(XXH3_createState()) {
    if (!state_) throw std::bad_alloc();
    sums_.reserve(size_bytes / block_bytes_ + 1);
    clear();
}

void ReadSums::clear() noexcept {
    XXH3_64bits_reset(state_.get());
    sums_.clear();
    added_ = 0;
}

void ReadSums::add(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        const auto part =
            bytes.first(std::min<std::uint64_t>(bytes.size(), block_bytes_ - added_ % block_bytes_));
        XXH3_64bits_update(state_.get(), part.data(), part.size());
        added_ += part.size();
        bytes = bytes.subspan(part.size());
        if (added_ % block_bytes_ != 0) continue;
        sums_.push_back(XXH3_64bits_digest(state_.get()));
        XXH3_64bits_reset(state_.get());
    }
}

std::vector<std::uint64_t> ReadSums::all() const {
    auto sums = sums_;
    if (added_ % block_bytes_ != 0) sums.push_back(XXH3_64bits_digest(state_.get()));
    return sums;
}

std::optional<ReadSums::Block> ReadSums::first_difference(const ReadSums& other) const {
    const auto ours = all();
    const auto theirs = other.all();
    const auto at = static_cast<std::uint64_t>(
        std::mismatch(ours.begin(), ours.end(), theirs.begin(), theirs.end()).first - ours.begin());
    if (at == ours.size() && at == theirs.size()) return std::nullopt;
    const auto end = std::max(added_, other.added_);
    return Block{at * block_bytes_, std::min((at + 1) * block_bytes_, end)};
}

std::optional<ReadSums::Block> ReadSums::first_difference_so_far(const ReadSums& other) const {
    const auto both = std::min(sums_.size(), other.sums_.size());
    for (std::size_t i = 0; i < both; ++i)
        if (sums_[i] != other.sums_[i]) return Block{i * block_bytes_, (i + 1) * block_bytes_};
    return std::nullopt;
}

std::size_t SummedSource::read(std::span<iovec> into) {
    slices_.assign(into.begin(), into.end());
    const auto count = source_->read(into);
    auto left = count;
    for (const auto& slice : slices_) {
        const auto part = std::min(slice.iov_len, left);
        sums_.add({static_cast<const std::byte*>(slice.iov_base), part});
        left -= part;
    }
    return count;
}

}  // namespace vmad::io
