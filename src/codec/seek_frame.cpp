#include "codec/seek_frame.hpp"

#include <algorithm>

#include "codec/zstd_form.hpp"
#include "codec/zstd_frames.hpp"

namespace vmad::codec {
namespace {

/// How much of a frame is read at first to see its beginning; then twice as much, and so on.
constexpr std::size_t kFirstStep = std::size_t{16} << 10;
constexpr std::size_t kMaxStep = std::size_t{128} << 10;

/// To make one takes longer than to decompress a small frame. Frames end in any state: it is reset.
ZSTD_DCtx* context_of_thread() {
    thread_local const auto context = make_zstd_context();
    ZSTD_DCtx_reset(context.get(), ZSTD_reset_session_only);
    return context.get();
}

/// Frames of regions are read into the same memory again: fresh one costs a page fault for every 4 KiB.
constexpr std::size_t kMostKept = std::size_t{4} << 20;

std::vector<std::byte>& kept_memory() {
    thread_local std::vector<std::byte> memory;
    return memory;
}

/// Decompressing a frame compares its checksum only where it has one.
bool all_checked(std::span<const std::byte> stored) {
    while (!stored.empty()) {
        const auto frame = take_frame(stored);
        if (!frame || !read_frame_head(*frame)->checked) return false;
    }
    return true;
}

}  // namespace

std::optional<std::vector<std::byte>> read_frame(io::FileSystem& fs, const io::File& file,
                                                 const SeekFrame& frame, std::size_t limit_bytes) {
    // A frame larger than any content of the limit makes of itself, with its filling, is none of ours.
    if (frame.bytes > limit_bytes || frame.stored_bytes > ZSTD_compressBound(limit_bytes) + 2 * kPageBytes)
        return std::nullopt;
    std::vector<std::byte> large;
    auto& memory = frame.stored_bytes <= kMostKept ? kept_memory() : large;
    if (memory.size() < frame.stored_bytes) memory.resize(frame.stored_bytes);
    const auto stored = std::span(memory).first(frame.stored_bytes);
    if (io::read_fully_at(fs, file, stored, frame.stored_offset) != stored.size()) return std::nullopt;
    if (!all_checked(stored)) return std::nullopt;
    std::optional<std::vector<std::byte>> content(frame.bytes);
    if (!decompress_entry(context_of_thread(), stored, *content)) content.reset();
    return content;
}

std::optional<std::uint64_t> own_stored_bytes(io::FileSystem& fs, const io::File& file,
                                              const SeekFrame& frame, std::size_t limit_bytes) {
    if (frame.bytes > limit_bytes || frame.stored_bytes > ZSTD_compressBound(limit_bytes) + 2 * kPageBytes)
        return std::nullopt;
    std::vector<std::byte> stored(frame.stored_bytes);
    if (io::read_fully_at(fs, file, stored, frame.stored_offset) != stored.size()) return std::nullopt;
    std::span<const std::byte> rest(stored);
    const auto own = take_frame(rest);
    return own ? std::optional<std::uint64_t>(own->size()) : std::nullopt;
}

bool read_frame_start(io::FileSystem& fs, const io::File& file, const SeekFrame& frame,
                      std::span<std::byte> into) {
    std::vector<std::byte> stored(std::min<std::size_t>(kFirstStep, frame.stored_bytes));
    if (io::read_fully_at(fs, file, stored, frame.stored_offset) != stored.size()) return false;
    const auto head = read_frame_head(
        std::span<const std::byte>(stored).first(std::min(stored.size(), kMaxFrameHeaderBytes)));
    if (!head || head->skippable || !head->checked || head->window_too_large ||
        ZSTD_getFrameContentSize(stored.data(), stored.size()) != frame.bytes || frame.bytes < into.size())
        return false;

    auto* const context = context_of_thread();
    ZSTD_outBuffer out{into.data(), into.size(), 0};
    std::uint64_t read_bytes = stored.size();
    while (true) {
        ZSTD_inBuffer in{stored.data(), stored.size(), 0};
        while (in.pos < in.size && out.pos < out.size) {
            const auto result = ZSTD_decompressStream(context, &out, &in);
            if (ZSTD_isError(result) != 0) return false;
            if (result == 0) return out.pos == out.size;
        }
        if (out.pos == out.size) return true;
        stored.resize(
            std::min<std::uint64_t>(std::min(2 * stored.size(), kMaxStep), frame.stored_bytes - read_bytes));
        if (stored.empty() ||
            io::read_fully_at(fs, file, stored, frame.stored_offset + read_bytes) != stored.size())
            return false;
        read_bytes += stored.size();
    }
}

}  // namespace vmad::codec
