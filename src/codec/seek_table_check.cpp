#include "codec/seek_table_check.hpp"

#include <algorithm>

namespace vmad::codec {
namespace {

void add_bytes(ListDigest& digest, std::span<const std::byte> bytes) {
    for (const auto byte : bytes) digest.add(std::to_integer<std::uint64_t>(byte));
}

}  // namespace

void SeekTableCheck::add_frame(std::uint64_t stored_bytes, std::uint64_t bytes) {
    ends_in_table_ = false;
    ++frames_;
    add_bytes(content_, SeekTable::encode_entry(stored_bytes, bytes));
}

void SeekTableCheck::begin_skippable(std::span<const std::byte, SeekTable::kHeaderBytes> header) {
    ends_in_table_ = true;
    ++skippable_frames_;
    std::copy(header.begin(), header.end(), found_header_.begin());
    found_content_ = {};
}

void SeekTableCheck::add_content(std::span<const std::byte> bytes) { add_bytes(found_content_, bytes); }

bool SeekTableCheck::matches() const {
    if (!ends_in_table_ || skippable_frames_ != 1 || frames_ > kMaxSeekFrames) return false;
    auto content = content_;
    add_bytes(content, SeekTable::encode_footer(frames_));
    return found_header_ == SeekTable::encode_header(frames_) && found_content_ == content;
}

}  // namespace vmad::codec
