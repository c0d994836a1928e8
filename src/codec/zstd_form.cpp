#include "codec/zstd_form.hpp"

#include <algorithm>

#include "base/integers.hpp"

namespace vmad::codec {
namespace {

constexpr std::uint32_t kMagic = 0x184d2a50;
constexpr std::size_t kHeaderBytes = 8;
constexpr std::size_t kZeros = 80;
constexpr std::byte kFill{0x55};

/// The longest filling is shorter.
constexpr std::size_t kMaxKeptBytes = 2 * kPageBytes;

void add_bytes(ListDigest& digest, std::span<const std::byte> bytes) {
    for (const auto byte : bytes) digest.add(std::to_integer<std::uint64_t>(byte));
}

}  // namespace

std::uint64_t filling_bytes(std::uint64_t stored_offset) noexcept {
    const auto left = (kPageBytes - stored_offset % kPageBytes) % kPageBytes;
    return left < kHeaderBytes + kZeros ? left + kPageBytes : left;
}

std::vector<std::byte> make_filling(std::uint64_t bytes) {
    std::vector<std::byte> filling(bytes);
    base::store_le(filling.data(), kMagic);
    base::store_le(filling.data() + 4, static_cast<std::uint32_t>(bytes - kHeaderBytes));
    std::fill(filling.begin() + kHeaderBytes, filling.end() - kZeros, kFill);
    return filling;
}

void ZstdFormCheck::add_frame(const StoredFrame& frame) {
    const bool must_be_filled = frames_ > 0 && frame.bytes > kMaxContentWithoutPayload;
    fits_ = fits_ && (must_be_filled ? skippable_is_filling() : skippable_bytes_ == 0);
    if (frames_ > 0)
        add_bytes(entries_, SeekTable::encode_entry(last_.stored_bytes + skippable_bytes_, last_.bytes,
                                                    last_.checksum));
    stored_offset_ += skippable_bytes_ + frame.stored_bytes;
    skippable_bytes_ = 0;
    last_ = frame;
    ++frames_;
}

bool ZstdFormCheck::skippable_is_filling() const {
    if (skippable_bytes_ != filling_bytes(stored_offset_)) return false;
    const auto expected = make_filling(skippable_bytes_);
    const auto content = std::span(expected).subspan(header_.size());
    return std::equal(header_.begin(), header_.end(), expected.begin()) &&
           std::equal(page_.begin(), page_.end(), content.begin(), content.end());
}

void ZstdFormCheck::begin_skippable(std::span<const std::byte, SeekTable::kHeaderBytes> header) {
    // Two behind each other are never right, nor is one at the beginning.
    fits_ = fits_ && frames_ > 0 && skippable_bytes_ == 0;
    std::copy(header.begin(), header.end(), header_.begin());
    skippable_bytes_ = header_.size() + base::load_le<std::uint32_t>(header_.data() + 4);
    content_ = {};
    page_.clear();
}

void ZstdFormCheck::add_content(std::span<const std::byte> bytes) {
    add_bytes(content_, bytes);
    const auto kept = bytes.first(std::min(bytes.size(), kMaxKeptBytes - page_.size()));
    page_.insert(page_.end(), kept.begin(), kept.end());
}

bool ZstdFormCheck::matches() const {
    if (!fits_ || skippable_bytes_ == 0 || frames_ > kMaxSeekFrames) return false;
    auto table = entries_;
    add_bytes(table, SeekTable::encode_entry(last_.stored_bytes, last_.bytes, last_.checksum));
    add_bytes(table, SeekTable::encode_footer(frames_));
    return header_ == SeekTable::encode_header(frames_) && content_ == table;
}

}  // namespace vmad::codec
