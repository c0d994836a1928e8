#include "codec/zstd_frames.hpp"

#include <algorithm>
#include <new>
#include <utility>

#include <fmt/format.h>
#include <zstd_errors.h>

#include "base/integers.hpp"

namespace vmad::codec {
namespace {

constexpr std::size_t kMagicBytes = 4;
constexpr std::size_t kSkippableHeaderBytes = 8;  ///< magic number and LE32 size of what follows
constexpr std::uint64_t kMaxWindowBytes = std::uint64_t{1} << kMaxWindowLog;

/// Whether a frame of this magic number may begin so, as far as there are bytes.
bool begins_like(std::span<const std::byte> bytes, std::uint32_t magic, std::uint32_t mask) {
    for (std::size_t i = 0; i < std::min(bytes.size(), kMagicBytes); ++i) {
        const auto difference = std::to_integer<std::uint32_t>(bytes[i]) ^ (magic >> (8 * i));
        if ((difference & (mask >> (8 * i)) & 0xff) != 0) return false;
    }
    return true;
}

/// RFC 8878, 3.1.1.1: what the descriptor behind the magic number says about window and checksum.
struct Descriptor {
    bool single_segment;  ///< no window byte: the whole content is the window
    bool checksum;
};

Descriptor read_descriptor(std::byte byte) {
    return {(byte & std::byte{0x20}) != std::byte{0}, (byte & std::byte{0x04}) != std::byte{0}};
}

/// The window that the byte behind the descriptor asks for: a power of two, and eighths of it.
std::uint64_t window_bytes(std::byte window) {
    const auto value = std::to_integer<unsigned>(window);
    const std::uint64_t power = std::uint64_t{1} << (10 + value / 8);
    return power + power / 8 * (value % 8);
}

}  // namespace

ZstdContext make_zstd_context() {
    ZstdContext context(ZSTD_createDCtx());
    if (!context) throw std::bad_alloc();
    ZSTD_DCtx_setParameter(context.get(), ZSTD_d_windowLogMax, static_cast<int>(kMaxWindowLog));
    return context;
}

std::optional<ZstdFrameHead> read_frame_head(std::span<const std::byte> bytes) {
    if (begins_like(bytes, ZSTD_MAGIC_SKIPPABLE_START, ZSTD_MAGIC_SKIPPABLE_MASK))
        return ZstdFrameHead{.skippable = true, .checked = true, .has_checksum = true};
    if (!begins_like(bytes, ZSTD_MAGICNUMBER, 0xffffffff)) return std::nullopt;
    ZstdFrameHead head;
    if (bytes.size() < kMagicBytes + 2) return head;  // too short for a frame: its reader will see
    const auto [single_segment, checksum] = read_descriptor(bytes[kMagicBytes]);
    const auto size = ZSTD_getFrameContentSize(bytes.data(), bytes.size());
    const bool sized = size != ZSTD_CONTENTSIZE_UNKNOWN && size != ZSTD_CONTENTSIZE_ERROR;
    head.checked = checksum && sized;
    head.has_checksum = checksum;
    head.window_too_large = single_segment ? sized && size > kMaxWindowBytes
                                           : window_bytes(bytes[kMagicBytes + 1]) > kMaxWindowBytes;
    return head;
}

std::optional<std::span<const std::byte>> take_frame(std::span<const std::byte>& stored) {
    const auto head = read_frame_head(stored.first(std::min(stored.size(), kMaxFrameHeaderBytes)));
    if (!head || head->window_too_large) return std::nullopt;
    const auto size = ZSTD_findFrameCompressedSize(stored.data(), stored.size());
    if (ZSTD_isError(size) != 0 || size > stored.size()) return std::nullopt;
    const auto frame = stored.first(size);
    stored = stored.subspan(size);
    return frame;
}

bool decompress_entry(ZSTD_DCtx* context, std::span<const std::byte> stored, std::span<std::byte> content) {
    if (stored.empty()) return false;
    bool has_frame = false;
    while (!stored.empty()) {
        const auto frame = take_frame(stored);
        if (!frame) return false;
        if (read_frame_head(*frame)->skippable) continue;
        if (has_frame || ZSTD_decompressDCtx(context, content.data(), content.size(), frame->data(),
                                             frame->size()) != content.size())
            return false;
        has_frame = true;
    }
    return has_frame || content.empty();
}

ZstdFrames::ZstdFrames(io::ByteSource& stored, const base::CancelFlag* cancel,
                       std::optional<SeekTable> seek_table, const Start& start)
    : input_(stored, start.stored_offset, cancel),
      context_(make_zstd_context()),
      seek_table_(std::move(seek_table)),
      entry_{start.entry, start.stored_offset, start.offset},
      form_check_(start.form_check),
      offset_(start.offset) {
    frame_ends_ = start.frame_ends;
    frames_checked_ = start.frames_checked;
    content_checked_ = start.content_checked;
}

std::size_t ZstdFrames::read(std::span<iovec> into) {
    std::size_t done = 0;
    for (const auto& slice : into) {
        ZSTD_outBuffer out{slice.iov_base, slice.iov_len, 0};
        while (out.pos < out.size) {
            if (in_frame_)
                decompress_into(out);
            else if (!begin_frame())
                return done + out.pos;
        }
        done += out.size;
    }
    return done;
}

/// False at the end of the file. Afterwards the stream may stand behind a skippable frame.
bool ZstdFrames::begin_frame() {
    const auto bytes = input_.peek(kMaxFrameHeaderBytes);
    frame_stored_offset_ = input_.offset();
    frame_offset_ = offset_;
    if (bytes.empty()) {
        if (seek_table_ && entry_.number < seek_table_->size()) give_up_table();
        is_canonical_form_ = form_check_.matches();
        return false;
    }
    const auto head = read_frame_head(bytes.first(std::min(bytes.size(), kMaxFrameHeaderBytes)));
    if (!head)
        throw base::FormatError(
            offset_, "zstd-frame",
            fmt::format("bytes that are no zstd frame follow at byte {} of the file", input_.offset()));
    if (head->skippable) {
        skip_frame();
        return true;
    }
    if (head->window_too_large)
        throw base::Unsupported(fmt::format(
            "the zstd stream at byte {} of the file needs a window of more than {} MiB: decompress "
            "it with zstd -d --long=31 and compress it again without --long",
            input_.offset(), kMaxWindowBytes >> 20));
    frames_checked_ = frames_checked_ && head->checked;
    content_checked_ = content_checked_ && head->has_checksum;
    next_bytes_ = ZSTD_initDStream(context_.get());
    in_frame_ = true;
    return true;
}

void ZstdFrames::skip_frame() {
    const auto bytes = input_.peek(kSkippableHeaderBytes);
    if (bytes.size() < kSkippableHeaderBytes) throw_truncated(input_.offset() + bytes.size());
    std::uint64_t left = base::load_le<std::uint32_t>(bytes.data() + kMagicBytes);
    form_check_.begin_skippable(bytes.first<kSkippableHeaderBytes>());
    input_.consume(kSkippableHeaderBytes);
    while (left > 0) {
        const auto available = input_.peek(1);
        if (available.empty()) throw_truncated(input_.offset());
        const auto step = std::min<std::uint64_t>(available.size(), left);
        form_check_.add_content(available.first(step));
        input_.consume(step);
        left -= step;
    }
    compare_with_table(true);
}

/// Gives the decompressor just what it asks for, mostly a block. So the places where it stops, and with them
/// the offsets in errors, do not depend on how the input is buffered.
void ZstdFrames::decompress_into(ZSTD_outBuffer& out) {
    const auto wanted = std::min(next_bytes_, StoredInput::kBytes);
    const auto available = input_.peek(wanted);
    ZSTD_inBuffer in{available.data(), std::min(available.size(), wanted), 0};
    const auto begin = out.pos;
    next_bytes_ = ZSTD_decompressStream(context_.get(), &out, &in);
    if (ZSTD_getErrorCode(next_bytes_) == ZSTD_error_memory_allocation) throw std::bad_alloc();
    if (ZSTD_isError(next_bytes_) != 0)
        throw base::FormatError(offset_, "zstd-stream",
                                fmt::format("the zstd stream is damaged at byte {} of the file: {}",
                                            input_.offset(), ZSTD_getErrorName(next_bytes_)));
    const auto tail = available.subspan(in.pos - std::min(in.pos, frame_tail_.size()),
                                        std::min(in.pos, frame_tail_.size()));
    std::copy(frame_tail_.begin() + static_cast<std::ptrdiff_t>(tail.size()), frame_tail_.end(),
              frame_tail_.begin());
    std::copy(tail.begin(), tail.end(), frame_tail_.end() - static_cast<std::ptrdiff_t>(tail.size()));
    input_.consume(in.pos);
    offset_ += out.pos - begin;
    if (next_bytes_ == 0) {
        end_frame();
    } else if (in.size < wanted && in.pos == in.size && out.pos < out.size) {
        throw_truncated(input_.offset());
    }
}

void ZstdFrames::end_frame() {
    in_frame_ = false;
    frame_ends_.add(offset_);
    form_check_.add_frame(
        {input_.offset() - frame_stored_offset_, offset_ - frame_offset_, frame_checksum(frame_tail_)});
    compare_with_table(false);
}

/// The present frame has ended. It may be all of its entry in the table, or skippable ones may follow. The
/// frames behind those of the table are the table itself.
void ZstdFrames::compare_with_table(bool skippable) {
    if (!seek_table_ || entry_.number == seek_table_->size()) return;
    const auto& expected = (*seek_table_)[entry_.number];
    const auto stored_bytes = input_.offset() - entry_.stored_offset;
    const auto bytes = offset_ - entry_.offset;
    if (stored_bytes > expected.stored_bytes || (entry_.has_frame && !skippable) ||
        (stored_bytes == expected.stored_bytes && bytes != expected.bytes))
        return give_up_table();
    entry_.has_frame = entry_.has_frame || !skippable;
    if (stored_bytes == expected.stored_bytes) entry_ = {entry_.number + 1, input_.offset(), offset_};
}

void ZstdFrames::give_up_table() {
    seek_table_.reset();
    warning_ = fmt::format(
        "the seek table does not match the frames from byte {} of the file on, so it was not used",
        entry_.stored_offset);
}

void ZstdFrames::throw_truncated(std::uint64_t file_bytes) const {
    throw base::FormatError(
        offset_, "zstd-truncated",
        fmt::format("the zstd stream ends in the middle of a frame, at byte {} of the file", file_bytes));
}

}  // namespace vmad::codec
